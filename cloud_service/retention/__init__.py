"""Retention: what of the archive is deleted, when, and by which rule."""
