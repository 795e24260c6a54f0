"""How far each camera's records were detected and rendered, so that a restart goes on where the last run stopped."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_service.database.tables import ProgressRow
from cloud_service.store import Position


@dataclass(frozen=True)
class Progress:
    """Where a camera's log is to be read on from.

    Attributes:
        detect: the first record that was not detected yet.
        archive: number of the first segment that was not rendered yet.
    """

    detect: Position
    archive: int


def load_progress(database: Engine, camera: str) -> Progress:
    """How far a camera got; its log's start if nothing is known."""
    with Session(database) as session:
        row = _row(session, camera)
        return Progress(Position(row.detect_segment, row.detect_offset), row.archive_segment)


def set_detected(session: Session, camera: str, position: Position) -> None:
    """Moves the detector's cursor as part of the session's transaction."""
    row = _row(session, camera)
    row.detect_segment, row.detect_offset = position


def set_archived(session: Session, camera: str, segment: int) -> None:
    """Moves the archive's cursor as part of the session's transaction."""
    _row(session, camera).archive_segment = segment


def _row(session: Session, camera: str) -> ProgressRow:
    row = session.get(ProgressRow, camera)
    if row is None:
        row = ProgressRow(camera=camera, detect_segment=0, detect_offset=0, archive_segment=0)
        session.add(row)
    return row
