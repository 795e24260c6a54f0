"""How long to wait before the next attempt."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from ``first`` up to ``most`` seconds, each shortened by up to half at random.

    The randomness keeps a fleet of edges from coming back all at once after the cloud was away.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._next = first

    def next(self) -> float:
        """Seconds to wait now."""
        wait, self._next = self._next, min(self._next * 2, self._most)
        return wait * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Starts small again; call it when an attempt succeeded."""
        self._next = self._first
