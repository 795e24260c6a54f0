"""How many CPU threads one network may use."""

from __future__ import annotations

from argparse import ArgumentTypeError

MOST_THREADS = 256
"""More would slow any machine down: each of a dozen networks starts its own."""


def thread_count(text: str) -> int:
    """The number that stands on a command line; 0 for one per core."""
    if not text.isdecimal() or int(text) > MOST_THREADS:
        raise ArgumentTypeError(f"a whole number from 0 to {MOST_THREADS} is needed, not {text!r}")
    return int(text)
