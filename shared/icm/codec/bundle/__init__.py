"""Codec bundles: the folders that hold a codec's networks and tables."""
