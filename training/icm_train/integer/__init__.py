"""Trained networks as the integer ones that ship."""
