"""The index of sealed segments: a memory of what their files hold, so that a start need not read them all."""

from __future__ import annotations

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_service.database import RecordSegmentRow
from cloud_service.record_store.segment import Segment
from cloud_service.record_store.sequences import SequenceSet


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

    def put(self, segment: Segment) -> None:
        """Remembers a sealed segment, or corrects what was remembered of it.

        Raises:
            SQLAlchemyError: the database refused.
        """
        with Session(self._database) as session, session.begin():
            session.merge(
                RecordSegmentRow(
                    camera=segment.camera,
                    number=segment.number,
                    epoch=segment.epoch,
                    path=segment.path,
                    size=segment.size,
                    records=segment.records,
                    first_capture_us=segment.first_capture_us,
                    last_capture_us=segment.last_capture_us,
                    sequences=segment.sequences.to_text(),
                )
            )
