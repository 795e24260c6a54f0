"""The ingest: takes records from edges and says what became of them."""
