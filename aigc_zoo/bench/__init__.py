"""Benchmarks of all installed recipes: speed, quality, and a matrix of their components."""
