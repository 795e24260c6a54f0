"""Verifications that the running cloud makes of its own archive, one after the other, and what they found."""
