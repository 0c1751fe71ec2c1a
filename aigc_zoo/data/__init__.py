"""Datasets: readers of folders, archives and arrays, pools of decoded rows, writers of generated samples."""
