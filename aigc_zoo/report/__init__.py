"""Reports of runs and benchmark results as one self-contained HTML page, or as Markdown."""
