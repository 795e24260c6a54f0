"""How many CPU threads one network may use."""

MOST_THREADS = 256
"""More would slow any machine down: each of a dozen networks starts its own."""
