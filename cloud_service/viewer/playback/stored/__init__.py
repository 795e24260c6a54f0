"""What the database says of a camera's past: each read is one query of an index, or a few."""
