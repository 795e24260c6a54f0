"""Bundles, written and read back into training."""
