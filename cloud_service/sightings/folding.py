"""Folding: the events of a segment become packed boxes, sightings and activity, in one transaction.

A frame's event of a model is folded once: what a row of ``boxes`` holds already is left out. So it does not matter
whether events come from the tables that the detector's are written to or from a model that looks at the past, in which
order, or how often.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from cloud_service.database.sightings_tables import BoxBlockRow, BoxesRow, FoldingRow, SegmentClassRow, SightingRow
from cloud_service.database.statements import add_rows, put_rows
from cloud_service.database.tables import DetectionRow, FrameRow
from cloud_service.detection.base import Detection
from cloud_service.events.empty_frames import FRAMES, block_key, empty_frames
from cloud_service.events.event import FrameEvent
from cloud_service.events.packed_boxes import PackedFrame, pack, unpack
from cloud_service.events.packed_frames import is_packed, packed_sequences
from cloud_service.sightings.activity import count_bytes, count_frames
from cloud_service.sightings.linking import LONG_GAP_US, Track, link
from cloud_service.sightings.relative_boxes import PictureSize, RelativeBox
from cloud_service.store import Segment, SequenceSet
from icm.frame_id import FrameId

_IDS = 1000
"""Rows that one statement names."""


def lock_folding(connection: Connection, camera: str) -> int:
    """The first segment of a camera that is not folded yet; nobody else folds of it until the transaction ends."""
    add_rows(connection, FoldingRow, [{"camera": camera, "next_segment": 0}], (FoldingRow.camera,))
    query = select(FoldingRow.next_segment).where(FoldingRow.camera == camera).with_for_update()
    return int(connection.scalar(query) or 0)


def fold_segment(connection: Connection, segment: Segment, size: PictureSize | None, gone: bool = False) -> None:
    """Folds what detectors found in a segment that the live one is done with, unless that was done before.

    Args:
        connection: in a transaction.
        segment: sealed.
        size: of its pictures; None if its file cannot be read.
        gone: whether the file is: then its bytes do not count.
    """
    if segment.number < lock_folding(connection, segment.camera):
        return
    _fold_hot_and(connection, segment, size, [])
    if not gone:
        count_bytes(connection, segment)
    set_folded(connection, segment.camera, segment.number + 1)


def fold_events(
    connection: Connection, segment: Segment, size: PictureSize | None, events: Sequence[FrameEvent]
) -> None:
    """Folds events of a model that looked at a segment again, beside those of other models.

    Sightings go on from one segment to the next if segments are folded in the order of their times.

    Args:
        connection: in a transaction.
        segment: sealed, and done with by the live detector.
        size: of its pictures; None if its file cannot be read.
        events: of its frames. An event without detections says that the model found nothing there.
    """
    lock_folding(connection, segment.camera)
    empty = {
        (sequence, of_block.model)
        for of_block in empty_frames(connection, {block_key(*event.key) for event in events})
        for sequence in of_block.captures
    }
    _fold_hot_and(connection, segment, size, [of for of in events if (of.key.sequence, of.model) not in empty])


def set_folded(connection: Connection, camera: str, next_segment: int) -> None:
    """Notes the first segment of a camera that is not folded yet."""
    row = {"camera": camera, "next_segment": next_segment}
    put_rows(connection, FoldingRow, [row], update=("next_segment",))


def _fold_hot_and(
    connection: Connection, segment: Segment, size: PictureSize | None, events: Sequence[FrameEvent]
) -> None:
    """Moves a segment's rows of ``frames`` into ``boxes``, and adds these events."""
    ids, hot = _hot_events(connection, segment)
    by_model: dict[str, list[FrameEvent]] = defaultdict(list)
    for event in (*hot, *events):
        by_model[event.model].append(event)
    for model, of_model in by_model.items():
        _fold_model(connection, segment, size or _least_size(of_model), model, of_model)
    for start in range(0, len(ids), _IDS):
        some = ids[start : start + _IDS]
        connection.execute(delete(DetectionRow).where(DetectionRow.frame_id.in_(some)))
        connection.execute(delete(FrameRow).where(FrameRow.id.in_(some)))


def _fold_model(
    connection: Connection, segment: Segment, size: PictureSize, model: str, events: Sequence[FrameEvent]
) -> None:
    key = {"camera": segment.camera, "number": segment.number, "model": model}
    row = connection.execute(select(BoxesRow.__table__).filter_by(**key)).first()
    known = list(unpack(row.data).frames()) if row is not None else []
    packed = packed_sequences(connection, {block_key(*event.key) for event in events})
    new: dict[int, FrameEvent] = {}
    for event in events:
        # The first event of a frame counts, whatever segment it was found in.
        if not is_packed(packed, event):
            new.setdefault(event.key.sequence, event)
    if not new:
        return
    ordered = sorted(new.values(), key=lambda event: (event.capture_us, event.key.sequence))
    before = _going_on(connection, segment.camera, model, ordered[0].capture_us, ordered[-1].capture_us)
    tracks = link(ordered, size, segment.number, before)
    _write_sightings(connection, segment, model, tracks)
    added = [
        PackedFrame(event.key.sequence, event.capture_us, event.detections, tuple(track.id or 0 for track in of_frame))
        for event, of_frame in zip(ordered, tracks, strict=True)
    ]
    _write_boxes(connection, segment, size, model, [*known, *added])
    count_frames(connection, segment.camera, model, added)


def _write_sightings(connection: Connection, segment: Segment, model: str, tracks: Sequence[tuple[Track, ...]]) -> None:
    """Adds and changes the rows of tracks, all of which have an ``id`` then."""
    changed = list({id(track): track for of_frame in tracks for track in of_frame}.values())
    grown = [{"id_": track.id, **_grown(track, segment)} for track in changed if track.id is not None]
    if grown:
        connection.execute(_GROW, grown)
    new = [track for track in changed if track.id is None]
    if not new:
        return
    rows = [
        {
            "camera": segment.camera,
            "class_name": track.class_name,
            "model": model,
            "start_us": track.start_us,
            **_grown(track, segment),
        }
        for track in new
    ]
    adding = insert(SightingRow).returning(SightingRow.id, sort_by_parameter_order=True)
    for track, number in zip(new, connection.scalars(adding, rows), strict=True):
        track.id = number


def _grown(track: Track, segment: Segment) -> dict[str, Any]:
    """The columns that change while a sighting goes on."""
    left, top, right, bottom = track.union
    return {
        "end_us": track.end_us,
        "first_segment": min(track.first_segment, segment.number),
        "last_segment": max(track.last_segment, segment.number),
        "frames": track.frames,
        "best_score": track.best_score,
        "best_us": track.best_us,
        "best_epoch": track.best_epoch,
        "best_sequence": track.best_sequence,
        "best_box": track.best_box.pack(),
        "last_box": track.last_box.pack(),
        "union_left": left,
        "union_top": top,
        "union_right": right,
        "union_bottom": bottom,
    }


def _going_on(connection: Connection, camera: str, model: str, first_us: int, last_us: int) -> list[Track]:
    """Sightings that boxes from ``first_us`` to ``last_us`` may go on with."""
    query = select(SightingRow.__table__).where(
        SightingRow.camera == camera,
        SightingRow.end_us >= first_us - LONG_GAP_US,
        SightingRow.end_us < last_us,
        SightingRow.model == model,
    )
    return [
        Track(
            id=row.id,
            class_name=row.class_name,
            start_us=row.start_us,
            end_us=row.end_us,
            frames=row.frames,
            best_score=row.best_score,
            best_us=row.best_us,
            best_epoch=row.best_epoch,
            best_sequence=row.best_sequence,
            best_box=RelativeBox.unpack(row.best_box),
            last_box=RelativeBox.unpack(row.last_box),
            union=RelativeBox(row.union_left, row.union_top, row.union_right, row.union_bottom),
            first_segment=row.first_segment,
            last_segment=row.last_segment,
        )
        for row in connection.execute(query.order_by(SightingRow.end_us))
    ]


def _write_boxes(
    connection: Connection, segment: Segment, size: PictureSize, model: str, frames: Sequence[PackedFrame]
) -> None:
    """Writes the row of ``boxes`` of a segment and model, and those by which it is found, or replaces them."""
    key = {"camera": segment.camera, "number": segment.number, "model": model}
    captures = [frame.capture_us for frame in frames]
    content = {
        "epoch": segment.epoch,
        "first_us": min(captures),
        "last_us": max(captures),
        "width": size.width,
        "height": size.height,
        "frames": len(frames),
        "boxes": sum(len(frame.detections) for frame in frames),
        "data": pack(frames),
    }
    of_row = [getattr(BoxesRow, name) == value for name, value in key.items()]
    if not connection.execute(update(BoxesRow).where(*of_row).values(**content)).rowcount:
        connection.execute(insert(BoxesRow).values(**key, **content))
    blocks: dict[int, SequenceSet] = defaultdict(SequenceSet)
    best: dict[str, float] = {}
    for frame in sorted(frames, key=lambda frame: frame.sequence):
        blocks[frame.sequence // FRAMES].add(frame.sequence)
        for found in frame.detections:
            best[found.class_name] = max(best.get(found.class_name, 0.0), found.score)
    held = [
        {**key, "epoch": segment.epoch, "block": block, "sequences": sequences.to_text()}
        for block, sequences in blocks.items()
    ]
    put_rows(connection, BoxBlockRow, held, update=("sequences",))
    classes = [
        {**key, "class_name": name, "last_us": max(captures), "best_score": score} for name, score in best.items()
    ]
    put_rows(connection, SegmentClassRow, classes, update=("last_us", "best_score"))


def _hot_events(connection: Connection, segment: Segment) -> tuple[list[int], list[FrameEvent]]:
    """The ids of a segment's rows of ``frames``, and their events, oldest rows first."""
    of_segment = (
        FrameRow.camera == segment.camera,
        FrameRow.epoch == segment.epoch,
        FrameRow.sequence.between(segment.sequences.first, segment.sequences.last),
    )
    columns = (FrameRow.id, FrameRow.sequence, FrameRow.capture_us, FrameRow.model)
    frames = [
        row
        for row in connection.execute(select(*columns).where(*of_segment)).all()
        if row.sequence in segment.sequences
    ]
    found: dict[int, list[Detection]] = defaultdict(list)
    rows = connection.execute(
        select(DetectionRow.__table__).join(FrameRow, FrameRow.id == DetectionRow.frame_id).where(*of_segment)
    )
    for _, frame_id, *values in sorted(map(tuple, rows.all())):
        found[frame_id].append(Detection(*values))
    frames.sort(key=lambda row: row.id)
    return [row.id for row in frames], [
        FrameEvent(
            FrameId(segment.camera, segment.epoch, row.sequence), row.capture_us, row.model, tuple(found[row.id])
        )
        for row in frames
    ]


def _least_size(events: Sequence[FrameEvent]) -> PictureSize:
    """The least picture that holds all boxes: where the record is gone, nothing says how large it was."""
    found = [detection for event in events for detection in event.detections]
    return PictureSize(
        max(1, *(math.ceil(box.right) for box in found), 0), max(1, *(math.ceil(box.bottom) for box in found), 0)
    )


_GROW = (
    update(SightingRow)
    .where(SightingRow.id == bindparam("id_"))
    .values(
        {
            name: bindparam(name)
            for name in (
                *("end_us", "first_segment", "last_segment", "frames", "best_score", "best_us", "best_epoch"),
                *("best_sequence", "best_box", "last_box", "union_left", "union_top", "union_right", "union_bottom"),
            )
        }
    )
)
