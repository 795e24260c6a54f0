"""How many connections one person or address may have, and how much they may say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from icm.errors import BusyError
from icm.service.clock import Clock

MOST_OF_A_USER = 16
MOST_OF_AN_ADDRESS = 64
"""Of several people behind one address, too."""


class ConnectionLimits:
    """Counts what is open. Belongs to one event loop."""

    def __init__(self, of_user: int = MOST_OF_A_USER, of_address: int = MOST_OF_AN_ADDRESS) -> None:
        """Nothing is open yet."""
        self._most = {"user": of_user, "address": of_address}
        self._open: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def held(self, user: str, address: str) -> Iterator[None]:
        """One more is open while the block runs.

        Raises:
            BusyError: there are too many.
        """
        keys = (("user", user), ("address", address))
        for kind, name in keys:
            if self._open[kind, name] >= self._most[kind]:
                raise BusyError(f"{self._most[kind]} live views of one {kind} are open already: close one", 30)
        self._open.update(keys)
        try:
            yield
        finally:
            self._open.subtract(keys)
            for key in keys:
                if not self._open[key]:
                    del self._open[key]


class MessageRate:
    """So many messages a second, a second's worth at once. Of one connection."""

    def __init__(self, most: float, clock: Clock) -> None:
        self._most, self._clock = most, clock
        self._left, self._at = most, clock.monotonic()

    def take(self) -> bool:
        """Takes one message in; False if there were too many."""
        now = self._clock.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._most) - 1
        self._at = now
        return self._left >= 0
