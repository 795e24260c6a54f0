"""Trained weights read back: from checkpoints, from a bundle that ships, from a long run."""
