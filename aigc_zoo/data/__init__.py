"""Samples: pools of decoded rows, readers of folders, archives and arrays, writers of what was made."""
