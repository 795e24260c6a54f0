"""Folds segments in the background, as the detector gets done with them.

How far it got is a row of the database, moved by the transaction that folds a segment: a crash at any place costs
nothing. A database from before there was folding is folded from its first segment on, a few at a time.
"""

from __future__ import annotations

import logging
import threading
from typing import NamedTuple

from sqlalchemy import Engine as Database
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.database.sightings_tables import FoldingRow
from cloud_service.database.statements import transaction
from cloud_service.database.tables import CursorRow, RecordSegmentRow
from cloud_service.sightings.folding import fold_segment, lock_folding, set_folded
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.store import Position, RecordStore, Segment
from cloud_service.store.index import State
from cloud_service.store.index.rows import COLUMNS
from cloud_service.store.index.segment_index import sound_segment
from icm.errors import IcmError, NotFoundError, RecordError
from icm.service.health import Problems

log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
"""How often to look for segments that are done: new sightings are found that much later."""
_REST_SECONDS = 0.05
"""Between rounds of one segment a camera: what is live goes first."""
_RETRY_SECONDS = 5.0


class _Behind(NamedTuple):
    """A camera that has segments to fold.

    Attributes:
        camera: its name.
        next_segment: the first that is not folded.
        end: the first that the detector is not done with.
    """

    camera: str
    next_segment: int
    end: int


class BackgroundFolding:
    """The one thread that folds. Other threads may fold events of segments again (``fold_events``)."""

    def __init__(self, *, store: RecordStore, database: Database, problems: Problems) -> None:
        """Creates the thread, which does not run yet.

        Args:
            problems: told where a camera's segments cannot be folded.
        """
        self._store, self._database, self._problems = store, database, problems
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folding", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the segment that is being folded; the rest is for the next start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def fold_round(self) -> bool:
        """Folds a segment of each camera that has one; returns whether any was.

        Raises:
            SQLAlchemyError: the database refused; what was folded before stays so.
        """
        folded = False
        for each in self._behind():
            if self._stopping.is_set():
                return False
            part = self._problems.part("sightings", each.camera)
            try:
                self._fold_next(each)
            except IcmError as error:
                if part.report(str(error)):
                    log.error("camera %s: segments cannot be folded: %s", each.camera, error)
            else:
                folded = True
                part.clear()
        return folded

    def _run(self) -> None:
        part = self._problems.part("sightings")
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = _REST_SECONDS if self.fold_round() else _POLL_SECONDS
            except SQLAlchemyError as error:
                wait = _RETRY_SECONDS
                if part.report(trouble(error)):
                    log.error("cannot fold segments, trying again every %g s: %s", wait, trouble(error))
            else:
                part.clear()

    def _behind(self) -> list[_Behind]:
        query = select(CursorRow.camera, FoldingRow.next_segment, CursorRow.detect_segment).outerjoin(
            FoldingRow, FoldingRow.camera == CursorRow.camera
        )
        with self._database.connect() as connection:
            rows = connection.execute(query).all()
        return [_Behind(camera, start or 0, end) for camera, start, end in rows if (start or 0) < end]

    def _fold_next(self, behind: _Behind) -> None:
        """Folds the first segment of a camera that is not, if the detector is done with it.

        Raises:
            StorageError: the database holds damage, or the segment's file cannot be read just now.
        """
        camera = behind.camera
        segment, gone = self._first_from(camera, behind.next_segment)
        done = segment is not None and segment.number < behind.end
        size = self._picture_size(segment) if segment is not None and done else None
        with transaction(self._database) as connection:
            if segment is not None and done:
                fold_segment(connection, segment, size, gone)
            elif lock_folding(connection, camera) < behind.end:
                set_folded(connection, camera, behind.end)

    def _first_from(self, camera: str, number: int) -> tuple[Segment | None, bool]:
        """The camera's first segment from a number on, and whether its file is gone: its events may be there still."""
        readable = self._store.segment(camera, number)
        query = select(*COLUMNS).where(RecordSegmentRow.camera == camera, RecordSegmentRow.number >= number)
        with self._database.connect() as connection:
            row = connection.execute(query.order_by(RecordSegmentRow.number).limit(1)).first()
        # The index is written a moment after a segment is sealed.
        if row is None or (readable is not None and readable.number <= row.number):
            return readable, False
        return sound_segment(row), row.state == State.GONE

    def _picture_size(self, segment: Segment) -> PictureSize | None:
        try:
            chunk = self._store.read(segment.camera, Position(segment.number, 0), 1)
        except (NotFoundError, RecordError):
            return None
        if chunk is None or chunk.segment.number != segment.number:
            return None
        return PictureSize(chunk.header.width, chunk.header.height)
