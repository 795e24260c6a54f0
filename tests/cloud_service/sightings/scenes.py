"""Segments, and what detectors found in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, text

from cloud_service.database.sightings_tables import (
    ActivityRow,
    BoxBlockRow,
    BoxesRow,
    RecordActivityRow,
    SegmentClassRow,
    SightingRow,
)
from cloud_service.database.statements import transaction
from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow, SkippedFrameRow
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.sightings.folding import fold_segment
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.store import Segment, SequenceSet
from icm.frame_id import FrameId

START_US = 1_790_000_040_000_000 - 20_000_000
"""The first segment's start, 20 s before the end of a minute."""
FRAME_US = 500_000
FRAMES = 20
"""Of a segment."""
SEGMENT_US = FRAMES * FRAME_US
SIZE = PictureSize(640, 480)
EPOCH = 7
TABLES = (
    *(FrameRow, DetectionRow, EmptyFramesRow, SkippedFrameRow),
    *(BoxesRow, BoxBlockRow, SegmentClassRow, SightingRow, ActivityRow, RecordActivityRow),
)


def segment(number: int, camera: str = "gate", size: int = 30_001) -> Segment:
    """Segment ``number`` of a camera of 2 fps."""
    start = START_US + (number - 1) * SEGMENT_US
    first = (number - 1) * FRAMES + 1
    return Segment(
        camera=camera,
        number=number,
        epoch=EPOCH,
        path=f"{camera}/{number}.icm",
        size=size,
        records=FRAMES,
        first_capture_us=start,
        last_capture_us=start + SEGMENT_US - FRAME_US,
        sequences=SequenceSet([(first, first + FRAMES - 1)]),
        sealed=True,
    )


def box(left: float, name: str = "person", score: float = 0.5, top: float = 100.0) -> Detection:
    """60 by 120 pixels."""
    return Detection(name, score, left, top, left + 60, top + 120)


def frame_event(sequence: int, *found: Detection, camera: str = "gate", model: str = "tiny") -> FrameEvent:
    return FrameEvent(FrameId(camera, EPOCH, sequence), START_US + (sequence - 1) * FRAME_US, model, found)


def walk(first: int, last: int, camera: str = "gate", model: str = "tiny") -> list[FrameEvent]:
    """Someone crosses the picture from left to right, for ever, while a car stands still; nobody is there in each
    fifth frame.
    """
    return [
        frame_event(
            sequence,
            *([box(sequence * 7 % 560, score=0.3 + sequence % 50 / 100)] if sequence % 5 else []),
            *([box(300, "car", 0.8, top=300)] if sequence % 10 else []),
            camera=camera,
            model=model,
        )
        for sequence in range(first, last + 1)
    ]


def events_of(of: Segment, model: str = "tiny") -> list[FrameEvent]:
    """What ``walk`` has in a segment."""
    return walk(of.sequences.first, of.sequences.last, of.camera, model)


def fold(database: Engine, *segments: Segment, size: PictureSize | None = SIZE) -> None:
    """Folds what is committed of segments, a transaction each."""
    for each in segments:
        with transaction(database) as connection:
            fold_segment(connection, each, size)


def rows(database: Engine, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    """What a table holds, sorted, in these columns or all but ``id``."""
    names = columns or tuple(column.name for column in table.__table__.columns if column.name != "id")
    quoted = ", ".join(f'"{name}"' for name in names)
    with database.connect() as connection:
        found = connection.execute(text(f"SELECT {quoted} FROM {table.__tablename__}")).all()
    return sorted(tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in found)


def everything(database: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All that is known of frames, by table."""
    return {table.__tablename__: rows(database, table) for table in TABLES}


def keys(events: Sequence[FrameEvent]) -> list[tuple[int, str, list[str]]]:
    """Sequence, model and classes of events, in their order."""
    return [(of.key.sequence, of.model, [found.class_name for found in of.detections]) for of in events]


def boxes_in(events: Sequence[FrameEvent]) -> int:
    return sum(len(of.detections) for of in events)


def committed(database: Engine, *batches: Sequence[FrameEvent]) -> EventStore:
    """An event store that was told of these, a batch after the other."""
    store = EventStore(database)
    for batch in batches:
        store.commit(batch, (), {})
    return store
