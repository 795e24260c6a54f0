"""Pictures that clients submit, as a camera."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from edge_service.sources.base import Frame, Source
from icm.errors import BusyError

AT_ONCE = 2
"""Pictures of one camera that are decoded or wait for its encoder."""
MOST_WAITING = 16
"""Submissions of one camera that may wait for their turn; each holds a message of many megabytes at worst."""


@dataclass
class Turn:
    """A submission's turn.

    Attributes:
        work: of a thread, which holds the turn until it is done, whoever gave up.
    """

    work: Future[Any] | None = None


class SubmittedSource(Source):
    """Hands submitted frames to the encoder. The event loop submits, a thread takes."""

    live = False
    damaged = 0

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self.submissions = self

    def check(self) -> None:
        """Nothing can be wrong."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
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
        turn = Turn()
        try:
            yield turn
        finally:
            if turn.work is None or turn.work.cancel() or turn.work.done():
                self._turns.release()
            else:
                loop = asyncio.get_running_loop()
                turn.work.add_done_callback(lambda _: self._release_in(loop))

    def submit(self, frame: Frame) -> None:
        """Queues a frame; its ``result`` gets what becomes of it. Call it within a ``turn``."""
        self._frames.put(frame)

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See ``Source.frames``; ends after ``stop()`` only, since the frame API stops first."""
        while (frame := self._frames.get()) is not None:
            yield frame

    def stop(self) -> None:
        """See ``Source.stop``: no more frames will be submitted."""
        self._frames.put(None)

    def _release_in(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop ended first: nobody waits for a turn any more
            loop.call_soon_threadsafe(self._turns.release)
