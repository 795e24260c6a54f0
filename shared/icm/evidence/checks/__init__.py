"""The checks of an evidence file, each of another part; ``verification`` makes them all."""
