"""Benchmarks over everything installed: speed, quality, and the matrix of components that fit together."""
