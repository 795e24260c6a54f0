"""How far each camera's records were detected and rendered, so that a restart goes on where the last run stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from cloud_service.database.statements import put_rows
from cloud_service.database.tables import CursorRow
from cloud_service.store.position import START, Position


@dataclass(frozen=True)
class Cursors:
    """Where a camera's log is to be read on from.

    Attributes:
        detect: the first record that was not detected yet.
        archive: number of the first segment that was not rendered yet.
    """

    detect: Position
    archive: int


def load_cursors(database: Engine, camera: str) -> Cursors:
    """How far a camera got; its log's start if nothing is known."""
    with Session(database) as session:
        row = session.get(CursorRow, camera)
        if row is None:
            return Cursors(START, 0)
        return Cursors(Position(row.detect_segment, row.detect_offset), row.archive_segment)


def set_detected(connection: Connection, positions: Mapping[str, Position]) -> None:
    """Moves the detector's cursors, by camera, as part of the connection's transaction."""
    rows = [
        {"camera": camera, "detect_segment": at.segment, "detect_offset": at.offset, "archive_segment": 0}
        for camera, at in positions.items()
    ]
    put_rows(connection, CursorRow, rows, update=("detect_segment", "detect_offset"))


def set_archived(connection: Connection, camera: str, segment: int) -> None:
    """Moves the archive's cursor as part of the connection's transaction."""
    row = {"camera": camera, "detect_segment": 0, "detect_offset": 0, "archive_segment": segment}
    put_rows(connection, CursorRow, [row], update=("archive_segment",))
