"""Exports: evidence files that the viewer has the cloud make, and keeps for a while."""
