"""The index of sealed segments: a memory of what their files hold, so that a start need not read them all.

A row that says a sequence too many would have the cloud acknowledge a record that it does not hold, and a database does
not notice a bit that its disk forgot. So rows carry a checksum, and one that does not fit is no row.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import google_crc32c
from sqlalchemy import Engine, bindparam, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloud_service.database.damage import trouble
from cloud_service.database.tables import ProgressRow, RecordSegmentRow
from cloud_service.store.segment import Segment
from cloud_service.store.sequences import SequenceSet

log = logging.getLogger(__name__)


class SegmentIndex:
    """Rows of ``record_segments``. Losing them costs time at the next start, never data."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def load(self) -> dict[str, Segment]:
        """All known segments, by path.

        Raises:
            SQLAlchemyError: the database does not answer.
        """
        with Session(self._database) as session:
            rows = session.scalars(select(RecordSegmentRow)).all()
            fields = [{name: getattr(row, name) for name in _FIELDS} for row in rows]
            checksums = [row.checksum for row in rows]
        sound = [row for row, checksum in zip(fields, checksums, strict=True) if _checksum(row) == checksum]
        if len(sound) < len(rows):
            log.warning("%d segments are read again: their rows in the index are damaged", len(rows) - len(sound))
        return {
            row["path"]: Segment(**row | {"sequences": SequenceSet.from_text(row["sequences"])}, sealed=True)
            for row in sound
        }

    def next_numbers(self) -> dict[str, int]:
        """By camera, the first number that nothing in the database speaks of. What it speaks of may be gone from the
        disk; a number that came back would be taken for looked at.

        Raises:
            SQLAlchemyError: the database does not answer.
        """
        with Session(self._database) as session:
            rows = session.scalars(select(ProgressRow)).all()
            numbers = {
                row.camera: max(row.detect_segment + (row.detect_offset > 0), row.archive_segment) for row in rows
            }
            for camera, last in session.execute(
                select(RecordSegmentRow.camera, func.max(RecordSegmentRow.number)).group_by(RecordSegmentRow.camera)
            ):
                numbers[camera] = max(numbers.get(camera, 1), last + 1)
        return numbers

    def forget(self, segments: Sequence[Segment]) -> None:
        """Remembers nothing of these, so that the next start reads their files; as ``put``, no failure of the store."""
        if not segments:
            return
        try:
            with self._database.begin() as connection:
                connection.execute(_FORGET, [{"of": segment.camera, "at": segment.number} for segment in segments])
        except SQLAlchemyError as error:
            log.warning("cannot take %d damaged segments out of the index: %s", len(segments), trouble(error))

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
            log.warning(
                "cannot index %d segments, the next start will read them again: %s", len(segments), trouble(error)
            )


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
_FIELDS = (
    "camera",
    "number",
    "epoch",
    "path",
    "size",
    "records",
    "first_capture_us",
    "last_capture_us",
    "sequences",
)


def _row(segment: Segment) -> dict[str, Any]:
    row = {name: getattr(segment, name) for name in _FIELDS} | {"sequences": segment.sequences.to_text()}
    return row | {"checksum": _checksum(row)}


def _checksum(row: dict[str, Any]) -> int:
    return int(google_crc32c.value(repr([row[name] for name in _FIELDS]).encode(errors="surrogatepass")))
