"""What the ingest learns from processing, to pass on to edges."""
