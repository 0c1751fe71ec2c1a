"""Reports: runs and results as one page that needs nothing else, or as Markdown."""
