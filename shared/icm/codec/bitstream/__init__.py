"""The record format, written, read and salvaged."""
