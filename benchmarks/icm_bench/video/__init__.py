"""Bits against what detectors find, on video."""
