"""Entropy coding in integers: the coder, its tables, and the networks that choose them."""
