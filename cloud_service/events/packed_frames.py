"""Events of segments that are done with: read from rows of ``boxes``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, and_, select, tuple_

from cloud_service.database.sightings_tables import BoxBlockRow, BoxesRow, SegmentClassRow
from cloud_service.events.empty_frames import BlockKey, block_key
from cloud_service.events.event import FrameEvent
from cloud_service.events.packed_boxes import unpack
from cloud_service.store import SequenceSet
from icm.frame_id import FrameId

LONGEST_SEGMENT_US = 600_000_000
"""No segment's capture times span more: what the setting ``archive.segment_seconds`` goes up to."""
_ROWS = 16
"""Rows that are fetched together: each holds some kilobytes."""


def packed_sequences(
    connection: Connection, keys: Collection[BlockKey]
) -> dict[BlockKey, list[tuple[str, SequenceSet]]]:
    """By block, models and the sequences in it whose events of that model are packed."""
    found: dict[BlockKey, list[tuple[str, SequenceSet]]] = defaultdict(list)
    if not keys:
        return found
    key = (BoxBlockRow.camera, BoxBlockRow.epoch, BoxBlockRow.block)
    query = select(*key, BoxBlockRow.model, BoxBlockRow.sequences).where(tuple_(*key).in_(sorted(keys)))
    for camera, epoch, block, model, sequences in connection.execute(query):
        found[BlockKey(camera, epoch, block)].append((model, SequenceSet.from_text(sequences)))
    return found


def is_packed(packed: Mapping[BlockKey, Iterable[tuple[str, SequenceSet]]], event: FrameEvent) -> bool:
    """Whether the frame has an event of the same model among what ``packed_sequences`` found."""
    of_block = packed.get(block_key(*event.key), ())
    return any(model == event.model and event.key.sequence in held for model, held in of_block)


def packed_event(connection: Connection, key: FrameId) -> FrameEvent | None:
    """The frame's newest event among those that are packed."""
    return next(packed_events(connection, key), None)


def packed_events(connection: Connection, key: FrameId) -> Iterator[FrameEvent]:
    """The frame's events among those that are packed, one of each model, the newest first."""
    of_block = dict(zip(("camera", "epoch", "block"), block_key(*key), strict=True))
    blocks = connection.execute(select(BoxBlockRow.__table__).filter_by(**of_block)).all()
    holders = [(row.number, row.model) for row in blocks if key.sequence in SequenceSet.from_text(row.sequences)]
    if not holders:
        return
    query = (
        select(BoxesRow.__table__)
        .where(BoxesRow.camera == key.camera, tuple_(BoxesRow.number, BoxesRow.model).in_(holders))
        .order_by(BoxesRow.id.desc())
    )
    for row in connection.execute(query).all():
        frame = unpack(row.data).frame(key.sequence)
        if frame is not None:
            yield FrameEvent(key, frame.capture_us, row.model, frame.detections)


def packed_newest_first(
    connection: Connection, camera: str | None, class_name: str | None, from_us: int | None, to_us: int | None
) -> Generator[FrameEvent, None, None]:
    """Events that are packed, the latest captured first.

    Args:
        camera: of this one alone.
        class_name: only frames in which this was found.
        from_us: leave out segments that end before this, microseconds since 1970.
        to_us: leave out segments that start at or after this.
    """
    if class_name is None:
        last_us = BoxesRow.last_us
        query = select(BoxesRow.__table__)
        if camera is not None:
            query = query.where(BoxesRow.camera == camera)
    else:
        last_us = SegmentClassRow.last_us
        same = and_(*(getattr(BoxesRow, name) == getattr(SegmentClassRow, name) for name in _KEY))
        query = select(BoxesRow.__table__).join(SegmentClassRow, same).where(SegmentClassRow.class_name == class_name)
        if camera is not None:
            query = query.where(SegmentClassRow.camera == camera)
    if from_us is not None:
        query = query.where(last_us >= from_us)
    if to_us is not None:
        query = query.where(BoxesRow.first_us < to_us)
        query = query.where(last_us < to_us + LONGEST_SEGMENT_US)
    with connection.execution_options(yield_per=_ROWS).execute(query.order_by(last_us.desc())) as rows:
        blocks = ((row.last_us, events_of(row)) for row in rows)
        for event in newest_first(blocks):
            if class_name is None or any(found.class_name == class_name for found in event.detections):
                yield event


def events_of(row: Any) -> list[FrameEvent]:
    """The events of a row of ``boxes``, oldest first.

    Raises:
        StoredDamageError: it holds what nobody wrote.
    """
    return [
        FrameEvent(FrameId(row.camera, row.epoch, frame.sequence), frame.capture_us, row.model, frame.detections)
        for frame in unpack(row.data).frames()
    ]


def newest_first(blocks: Iterable[tuple[int, Iterable[FrameEvent]]]) -> Iterator[FrameEvent]:
    """The events of blocks, the latest captured first.

    Args:
        blocks: each with the capture time of its last event, by which they come, the latest first.
    """
    waiting: list[FrameEvent] = []
    for last_us, events in blocks:
        # What is later than all that this block and those to come hold.
        ready = sum(event.capture_us > last_us for event in waiting)
        yield from waiting[:ready]
        waiting = sorted([*waiting[ready:], *events], key=age)
    yield from waiting


def age(event: FrameEvent) -> int:
    """By which newest events come first."""
    return -event.capture_us


_KEY = ("camera", "number", "model")
