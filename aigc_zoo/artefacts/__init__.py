"""What a run leaves on disk: atomic files, self-verifying checkpoints, run folders."""
