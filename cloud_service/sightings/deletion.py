"""What goes with a segment that is deleted: all that is known of its frames."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from cloud_service.database.sightings_tables import BoxBlockRow, BoxesRow, SegmentClassRow, SightingRow
from cloud_service.database.statements import put_rows
from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow, SkippedFrameRow
from cloud_service.events.empty_frames import CONTENT, FRAMES, EmptyFrames
from cloud_service.events.packed_boxes import unpack
from cloud_service.sightings.activity import count_bytes, count_frames
from cloud_service.sightings.folding import lock_folding
from cloud_service.sightings.linking import LONGEST_US
from cloud_service.store import Segment


def delete_events(connection: Connection, segment: Segment) -> None:
    """Deletes what detectors found in a segment, whichever models, and what was counted of it.

    A sighting goes with the last segment that holds some of it; until then it stays as it was. Activity loses what the
    segment added to it, so this may be called once for each segment.

    Args:
        connection: in the transaction that notes that the segment is deleted.
        segment: sealed, as the index has it, or had it.
    """
    folded = segment.number < lock_folding(connection, segment.camera)
    _delete_packed(connection, segment)
    _delete_sightings(connection, segment)
    _delete_rows(connection, segment)
    if folded:
        count_bytes(connection, segment, times=-1)


def delete_found(connection: Connection, segment: Segment) -> None:
    """Deletes what detectors found in a segment that is folded and stays: boxes, sightings that nothing else holds any
    more, and activity. That frames were looked at in which nothing was found stays known.

    Args:
        connection: in a transaction.
        segment: sealed, as the index has it.
    """
    lock_folding(connection, segment.camera)
    _delete_packed(connection, segment)
    _delete_sightings(connection, segment)


def _delete_packed(connection: Connection, segment: Segment) -> None:
    of_segment = {"camera": segment.camera, "number": segment.number}
    for row in connection.execute(select(BoxesRow.__table__).filter_by(**of_segment)).all():
        count_frames(connection, row.camera, row.model, list(unpack(row.data).frames()), times=-1)
    connection.execute(delete(BoxesRow).filter_by(**of_segment))
    connection.execute(delete(SegmentClassRow).filter_by(**of_segment))
    for first, last in _blocks(segment):
        connection.execute(
            delete(BoxBlockRow)
            .where(BoxBlockRow.block.between(first, last))
            .filter_by(**of_segment, epoch=segment.epoch)
        )


def _delete_sightings(connection: Connection, segment: Segment) -> None:
    """Deletes those of which no segment holds anything any more."""
    holders = select(BoxesRow.id).where(
        BoxesRow.camera == SightingRow.camera,
        BoxesRow.model == SightingRow.model,
        BoxesRow.number.between(SightingRow.first_segment, SightingRow.last_segment),
    )
    connection.execute(
        delete(SightingRow).where(
            SightingRow.camera == segment.camera,
            SightingRow.start_us.between(segment.first_capture_us - LONGEST_US, segment.last_capture_us),
            SightingRow.end_us >= segment.first_capture_us,
            ~holders.exists(),
        )
    )


def _delete_rows(connection: Connection, segment: Segment) -> None:
    """Deletes what is not packed: events of frames, ranges of empty frames, and which frames were skipped."""
    of_camera = {"camera": segment.camera, "epoch": segment.epoch}
    for first, last in segment.sequences:
        frames = select(FrameRow.id).filter_by(**of_camera).where(FrameRow.sequence.between(first, last))
        connection.execute(delete(DetectionRow).where(DetectionRow.frame_id.in_(frames)))
        connection.execute(delete(FrameRow).filter_by(**of_camera).where(FrameRow.sequence.between(first, last)))
        skipped = delete(SkippedFrameRow).where(SkippedFrameRow.sequence.between(first, last))
        connection.execute(skipped.filter_by(**of_camera))
    kept: list[EmptyFrames] = []
    for first, last in _blocks(segment):
        of_blocks = (EmptyFramesRow.block.between(first, last),)
        rows = connection.execute(select(EmptyFramesRow.__table__).filter_by(**of_camera).where(*of_blocks)).all()
        for row in rows:
            empty = EmptyFrames.from_row(row)
            empty.captures = {
                sequence: at for sequence, at in empty.captures.items() if sequence not in segment.sequences
            }
            if empty.captures:
                kept.append(empty)
            else:
                connection.execute(delete(EmptyFramesRow).filter_by(**empty.key._asdict(), model=empty.model))
    put_rows(connection, EmptyFramesRow, [empty.to_row() for empty in kept], update=CONTENT)


def _blocks(segment: Segment) -> list[tuple[int, int]]:
    """Ranges of the blocks that the segment's sequences are in, each block once, both ends included."""
    ranges: list[tuple[int, int]] = []
    for first, last in segment.sequences:
        low, high = first // FRAMES, last // FRAMES
        if ranges and low <= ranges[-1][1]:
            low = ranges.pop()[0]
        ranges.append((low, high))
    return ranges
