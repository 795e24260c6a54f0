"""The frame inspector: one frame of the past, as closely as one can look."""
