"""Whose turn it is to render: each caller has one at a time, and all together have two."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 2
"""Clips that are rendered at once."""


class Turns:
    """Belongs to one event loop. Who waits the longest is next."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._of_caller: dict[str, asyncio.Lock] = {}
        self._waiting = Counter[str]()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Waits until it is this caller's turn, which lasts as long as the block."""
        self._waiting[caller] += 1
        try:
            # One that waits for its own clip takes nobody else's place.
            async with self._of_caller.setdefault(caller, asyncio.Lock()), self._all:
                yield
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller], self._of_caller[caller]
