"""Training runs and their generators: prepare, train, evaluate, sample, export."""
