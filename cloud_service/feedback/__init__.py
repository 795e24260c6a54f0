"""What processing tells the ingest, for edges to know."""
