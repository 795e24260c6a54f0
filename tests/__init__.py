"""The tests mirror the folders of what they test."""
