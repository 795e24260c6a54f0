"""Bits against what detectors find, on photos."""
