"""Group commit: many streams' records share an fsync."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from prometheus_client import Histogram

from cloud_service.store.store import RawRecord, RecordStore
from icm.codec.bitstream.record import StreamHeader
from icm.errors import StorageError
from icm.service.telemetry import timed

log = logging.getLogger(__name__)
_WRITERS = 16
"""Cameras whose files are written at once. Each has a file of its own to wait for, and a file system that is asked for
several at once puts them into one commit of its journal."""
_TICK_SECONDS = 0.5
"""How often segments are looked at for their age when no records come."""


@dataclass
class _Pending:
    header: StreamHeader
    records: Sequence[RawRecord]
    done: asyncio.Future[list[bool]]

    def resolve(self, outcome: list[bool] | StorageError) -> None:
        """On the event loop's thread."""
        if self.done.cancelled():
            return
        if isinstance(outcome, StorageError):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


_Outcomes = list[tuple[_Pending, "list[bool] | StorageError"]]


class GroupCommit:
    """All that appends to a store: one group at a time, and in it, one thread per camera.

    What waits in it is bounded by the streams' credit.
    """

    def __init__(
        self,
        store: RecordStore,
        delay_seconds: float,
        persist_seconds: Histogram,
        on_change: Callable[[], None],
        check_room: Callable[[], None] = lambda: None,
    ) -> None:
        """Creates the queue in front of a store, and a thread that ``start`` starts.

        Args:
            delay_seconds: how long the first record of a group waits for others.
            persist_seconds: observes each group's time on its way to the disk.
            on_change: called, on the store's thread, when there is more to read.
            check_room: asked before records are appended; raises a StorageError if none may be taken just now.
        """
        self._check_room = check_room
        self._store = store
        self._delay = delay_seconds
        self._persist_seconds = persist_seconds
        self._on_change = on_change
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="record-store", daemon=True)
        self._writers = ThreadPoolExecutor(_WRITERS, "record-writer")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commits what waits, seals every segment, and ends."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def append(self, header: StreamHeader, records: Sequence[RawRecord]) -> asyncio.Future[list[bool]]:
        """Done when the records are on the disk, with what ``RecordStore.append`` returns or raises."""
        done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._queue.put(_Pending(header, records, done))
        return done

    def _run(self) -> None:
        while not self._stopping.is_set():
            group = self._next_group()
            if group:
                self._commit(group)
            if self._store.seal_aged() or group:
                self._on_change()
        if group := self._waiting():
            self._commit(group)
        self._writers.shutdown()
        self._store.close()
        self._on_change()

    def _next_group(self) -> list[_Pending]:
        try:
            first = self._queue.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return []
        if first is None:
            return []
        self._stopping.wait(self._delay)
        return [first, *self._waiting()]

    def _waiting(self) -> list[_Pending]:
        group: list[_Pending] = []
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group
            if item is not None:
                group.append(item)

    def _commit(self, group: list[_Pending]) -> None:
        with timed(self._persist_seconds):
            ordered = sorted(group, key=lambda pending: pending.header.camera)
            cameras = [list(camera) for _, camera in groupby(ordered, key=lambda pending: pending.header.camera)]
            outcomes = [outcome for camera in self._writers.map(self._commit_camera, cameras) for outcome in camera]
        # All at once: to wake the loop for each stream costs more than what it then has to say.
        outcomes[0][0].done.get_loop().call_soon_threadsafe(_resolve, outcomes)

    def _commit_camera(self, pending: list[_Pending]) -> _Outcomes:
        runs = [(header, list(run)) for header, run in groupby(pending, key=lambda item: item.header)]
        return [outcome for header, run in runs for outcome in self._commit_run(header, run)]

    def _commit_run(self, header: StreamHeader, run: list[_Pending]) -> _Outcomes:
        records = [raw for pending in run for raw in pending.records]
        try:
            self._check_room()
            outcomes = iter(self._store.append(header, records))
        except StorageError as error:
            return [(pending, error) for pending in run]
        except Exception as error:
            # Whatever it is, the streams of all cameras need this thread.
            log.exception("camera %s: the record store failed", header.camera)
            failure = StorageError(f"the record store failed: {error!r}")
            return [(pending, failure) for pending in run]
        return [(pending, [next(outcomes) for _ in pending.records]) for pending in run]


def _resolve(outcomes: _Outcomes) -> None:
    for pending, outcome in outcomes:
        pending.resolve(outcome)
