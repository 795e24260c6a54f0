"""Proof of what the archive held: tombstones of what is gone."""
