"""How many submissions of a camera are worked on at once, whatever their clients do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from edge_service.sources import Frame
from edge_service.sources.file import FileSource
from edge_service.sources.submitted import AT_ONCE, MOST_WAITING, SubmittedSource
from icm.errors import BusyError
from icm.service.clock import ManualClock


class Decoding:
    """Work in threads that ends when it is let go. Attributes: running, how many pieces of it do."""

    def __init__(self) -> None:
        self.pool, self.go, self.running, self._lock = ThreadPoolExecutor(20), threading.Event(), 0, threading.Lock()
        self.most = 0

    def __call__(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.go.wait()
        with self._lock:
            self.running -= 1

    async def submit(self, source: SubmittedSource) -> None:
        async with source.turn() as turn:
            turn.work = self.pool.submit(self)
            await asyncio.wrap_future(turn.work)


@contextmanager
def decoding() -> Iterator[Decoding]:
    work = Decoding()
    try:
        yield work
    finally:
        work.go.set()
        work.pool.shutdown()


async def started(work: Decoding, count: int) -> None:
    while work.running < count:
        await asyncio.to_thread(threading.Event().wait, 0.001)


async def test_a_submission_that_is_given_up_holds_its_turn_until_its_thread_is_back() -> None:
    source = SubmittedSource()
    with decoding() as work:
        first = [asyncio.create_task(work.submit(source)) for _ in range(AT_ONCE)]
        await started(work, AT_ONCE)
        for task in first:
            task.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        later = [asyncio.create_task(work.submit(source)) for _ in range(2 * AT_ONCE)]
        for task in later[:AT_ONCE]:
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0.05)
        assert work.running == AT_ONCE
        work.go.set()
        await asyncio.gather(*later[AT_ONCE:])
    assert work.most == AT_ONCE


async def test_turns_come_back_however_submissions_end() -> None:
    source = SubmittedSource()
    with decoding() as work:
        work.go.set()
        for round_ in range(50):
            tasks = [asyncio.create_task(work.submit(source)) for _ in range(AT_ONCE + 2)]
            for number, task in enumerate(tasks):
                for _ in range((round_ + number) % 5):
                    await asyncio.sleep(0)
                if number % 2:
                    task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        async with asyncio.timeout(20):
            await asyncio.gather(*(work.submit(source) for _ in range(AT_ONCE)))
    assert work.most <= AT_ONCE


async def test_more_than_may_wait_are_refused() -> None:
    source = SubmittedSource()
    with decoding() as work:
        tasks = [asyncio.create_task(work.submit(source)) for _ in range(AT_ONCE + MOST_WAITING)]
        await started(work, AT_ONCE)
        with pytest.raises(BusyError):
            await work.submit(source)
        work.go.set()
        await asyncio.gather(*tasks)


def test_only_a_source_that_clients_submit_to_says_so(clip: Path, clock: ManualClock) -> None:
    submitted = SubmittedSource()
    assert submitted.submissions is submitted
    assert FileSource(clip, False, False, clock).submissions is None


async def test_what_was_submitted_before_a_stop_still_comes_and_then_the_source_ends() -> None:
    source, stop = SubmittedSource(), threading.Event()
    frames = [Frame(np.zeros((2, 2, 3), np.uint8), capture_us) for capture_us in (1, 2)]
    for frame in frames:
        source.submit(frame)
    stop.set()
    source.stop()
    assert await asyncio.to_thread(lambda: list(source.frames(stop))) == frames
