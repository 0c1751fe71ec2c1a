"""Files that a run leaves on disk: atomic writes, self-verifying checkpoints, run directories."""
