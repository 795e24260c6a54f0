"""The index of sealed segments: a memory of what their files hold, so that a start need not read them all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine, bindparam, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloud_service.database import RecordSegmentRow
from cloud_service.record_store.segment import Segment
from cloud_service.record_store.sequences import SequenceSet

log = logging.getLogger(__name__)


class SegmentIndex:
    """Rows of ``record_segments``. Losing them costs time at the next start, never data."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def load(self) -> dict[str, Segment]:
        """All known segments, by path."""
        with Session(self._database) as session:
            rows = session.scalars(select(RecordSegmentRow)).all()
        return {
            row.path: Segment(
                row.camera,
                row.number,
                row.epoch,
                row.path,
                row.size,
                row.records,
                row.first_capture_us,
                row.last_capture_us,
                SequenceSet.from_text(row.sequences),
                sealed=True,
            )
            for row in rows
        }

    def put(self, segments: Sequence[Segment]) -> None:
        """Remembers sealed segments, or corrects what was remembered of them, in one transaction; failing to is no
        failure of the store.
        """
        if not segments:
            return
        try:
            with self._database.begin() as connection:
                connection.execute(_FORGET, [{"of": segment.camera, "at": segment.number} for segment in segments])
                connection.execute(_REMEMBER, [_row(segment) for segment in segments])
        except SQLAlchemyError as error:
            log.warning("cannot index %d segments, the next start will read them again: %s", len(segments), error)


class IndexWriter:
    """Puts segments into the index on a thread of its own: when many cameras' segments end at once, no record waits for
    the database. A crash before costs the next start some reading. Thread-safe.
    """

    def __init__(self, index: SegmentIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._waiting: list[Segment] = []
        self._thread = ThreadPoolExecutor(1, "segment-index")

    def remember(self, segment: Segment) -> None:
        """Puts the segment, which is sealed, into the index soon."""
        with self._lock:
            self._waiting.append(segment)
            if len(self._waiting) > 1:
                return
        self._thread.submit(self._write)

    def close(self) -> None:
        """Returns when all that was to be remembered is."""
        self._thread.shutdown()

    def _write(self) -> None:
        with self._lock:
            segments, self._waiting = self._waiting, []
        self._index.put(segments)


_FORGET = delete(RecordSegmentRow).where(
    RecordSegmentRow.camera == bindparam("of"), RecordSegmentRow.number == bindparam("at")
)
_REMEMBER = insert(RecordSegmentRow)


def _row(segment: Segment) -> dict[str, Any]:
    return {
        "camera": segment.camera,
        "number": segment.number,
        "epoch": segment.epoch,
        "path": segment.path,
        "size": segment.size,
        "records": segment.records,
        "first_capture_us": segment.first_capture_us,
        "last_capture_us": segment.last_capture_us,
        "sequences": segment.sequences.to_text(),
    }
