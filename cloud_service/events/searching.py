"""Events by camera, class and time, newest first: from rows of frames, ranges of empty frames, and what is packed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session

from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow
from cloud_service.detection.base import Detection
from cloud_service.events.empty_frames import EmptyFrames
from cloud_service.events.event import FrameEvent
from cloud_service.events.packed_frames import age, newest_first, packed_newest_first
from icm.frame_id import FrameId

_ROWS = 16
"""Rows that are fetched together."""


def search_events(
    database: Engine, camera: str | None, class_name: str | None, from_us: int | None, to_us: int | None, limit: int
) -> list[FrameEvent]:
    """See ``EventStore.search``."""
    with Session(database) as session, ExitStack() as reading:
        connection = session.connection()
        sources: list[Generator[FrameEvent, None, None]] = [
            packed_newest_first(connection, camera, class_name, from_us, to_us)
        ]
        # By camera, as an index by time alone would cost each commit: of all cameras none is walked further than asked.
        for name in [camera] if camera is not None else _cameras(connection, FrameRow):
            sources.append(_frames(session, name, class_name, from_us, to_us))
        if class_name is None:
            for name in [camera] if camera is not None else _cameras(connection, EmptyFramesRow):
                sources.append(_empty(connection, name, from_us, to_us))
        for source in sources:
            # Its rows are given back, however few were taken.
            reading.enter_context(closing(source))
        within = (event for event in merge(*sources, key=age) if _is_within(event, from_us, to_us))
        return list(islice(within, limit))


def event_of(row: FrameRow) -> FrameEvent:
    """The event of a row of ``frames``."""
    return FrameEvent(
        FrameId(row.camera, row.epoch, row.sequence),
        row.capture_us,
        row.model,
        tuple(
            Detection(found.class_name, found.score, found.left, found.top, found.right, found.bottom)
            for found in row.detections
        ),
    )


def _frames(
    session: Session, camera: str, class_name: str | None, from_us: int | None, to_us: int | None
) -> Generator[FrameEvent, None, None]:
    query = select(FrameRow).where(FrameRow.camera == camera)
    if class_name is not None:
        query = query.where(FrameRow.detections.any(DetectionRow.class_name == class_name))
    if from_us is not None:
        query = query.where(FrameRow.capture_us >= from_us)
    if to_us is not None:
        query = query.where(FrameRow.capture_us < to_us)
    ordered = query.order_by(FrameRow.capture_us.desc(), FrameRow.id.desc()).execution_options(yield_per=_ROWS)
    with session.execute(ordered) as rows:
        for row in rows.scalars():
            yield event_of(row)


def _empty(
    connection: Connection, camera: str, from_us: int | None, to_us: int | None
) -> Generator[FrameEvent, None, None]:
    query = select(EmptyFramesRow.__table__).where(EmptyFramesRow.camera == camera)
    if from_us is not None:
        query = query.where(EmptyFramesRow.last_capture_us >= from_us)
    if to_us is not None:
        query = query.where(EmptyFramesRow.first_capture_us < to_us)
    ordered = query.order_by(EmptyFramesRow.last_capture_us.desc()).execution_options(yield_per=_ROWS)
    with connection.execute(ordered) as rows:
        yield from newest_first((row.last_capture_us, _events_of_empty(row)) for row in rows)


def _events_of_empty(row: Any) -> Iterable[FrameEvent]:
    return [
        FrameEvent(FrameId(row.camera, row.epoch, sequence), capture_us, row.model, ())
        for sequence, capture_us in EmptyFrames.from_row(row).captures.items()
    ]


def _cameras(connection: Connection, table: type[FrameRow] | type[EmptyFramesRow]) -> Iterator[str]:
    """The cameras of a table, by a jump from name to name: DISTINCT would read every row."""
    name = ""
    while (name := connection.scalar(select(func.min(table.camera)).where(table.camera > name)) or "") != "":
        yield name


def _is_within(event: FrameEvent, from_us: int | None, to_us: int | None) -> bool:
    return (from_us is None or event.capture_us >= from_us) and (to_us is None or event.capture_us < to_us)
