"""Pictures that clients submit, as a camera."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from edge_service.sources.base import Frame
from shared.errors import BusyError

AT_ONCE = 2
"""Pictures of one camera that are decoded or wait for its encoder."""
MOST_WAITING = 16
"""Submissions of one camera that may wait for their turn; each holds a message of many megabytes at worst."""


class SubmittedSource:
    """Hands submitted frames to the encoder. The event loop submits, a thread takes."""

    live = False
    damaged = 0

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def check(self) -> None:
        """Nothing can be wrong."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Bounds how many submissions are worked on; hold it from before decoding until the result is there.

        Raises:
            BusyError: too many wait already.
        """
        if self._waiting >= MOST_WAITING:
            raise BusyError(f"{MOST_WAITING} pictures of this camera wait for the encoder already: submit more slowly")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    def submit(self, frame: Frame) -> None:
        """Queues a frame; its ``result`` tells the rest. Call it within a ``turn``."""
        self._frames.put(frame)

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See ``Source.frames``; ends after ``close`` only, since the frame API stops first."""
        while (frame := self._frames.get()) is not None:
            yield frame

    def close(self) -> None:
        """No more frames will be submitted."""
        self._frames.put(None)
