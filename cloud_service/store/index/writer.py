"""Writes the index beside the records' way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.store.index.rows import Change
from cloud_service.store.index.segment_index import SegmentIndex

log = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0


class IndexWriter:
    """Makes changes of the index on a thread of its own: when many cameras' segments end at once, no record waits for
    the database. What it refuses waits here for the next attempt, and a crash before that costs the next start some
    reading. Thread-safe.
    """

    def __init__(self, index: SegmentIndex, on_written: Callable[[Sequence[Change]], None]) -> None:
        """Creates the writer and its thread.

        Args:
            on_written: called, on the writer's thread, with what the index says from now on.
        """
        self._index, self._on_written = index, on_written
        self._lock = threading.Lock()
        self._waiting: list[Change] = []
        self._under_way = False
        self._not_before = 0.0
        self._thread = ThreadPoolExecutor(1, "segment-index")

    def write(self, changes: Sequence[Change]) -> None:
        """Makes the changes soon."""
        with self._lock:
            self._waiting.extend(changes)
        self.go_on()

    def go_on(self) -> None:
        """Begins to write what waits, unless it was refused a moment ago."""
        with self._lock:
            if self._under_way or not self._waiting or time.monotonic() < self._not_before:
                return
            self._under_way = True
        self._thread.submit(self._write)

    def close(self) -> None:
        """Returns when all is written, or was refused once more."""
        with self._lock:
            self._not_before = 0.0
        self.go_on()
        self._thread.shutdown()

    def _write(self) -> None:
        while True:
            with self._lock:
                changes, self._waiting = self._waiting, []
                if not changes:
                    self._under_way = False
                    return
            try:
                self._index.write(changes)
            except SQLAlchemyError as error:
                log.warning("cannot index %d segments, trying again: %s", len(changes), trouble(error))
                with self._lock:
                    self._waiting[:0] = changes
                    self._under_way = False
                    self._not_before = time.monotonic() + _RETRY_SECONDS
                return
            self._on_written(changes)
