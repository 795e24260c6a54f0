"""What retention asks of events: what was found best in a stretch of time, and that a segment's events go with it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select

from cloud_service.database.statements import put_rows
from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow, SkippedFrameRow
from cloud_service.events.empty_frames import CONTENT, FRAMES, EmptyFrames
from cloud_service.store import Segment


def best_scores(connection: Connection, camera: str, from_us: int, to_us: int) -> dict[str, float]:
    """By class, the best score of all detections in frames captured from ``from_us`` to ``to_us``, both included."""
    query = (
        select(DetectionRow.class_name, func.max(DetectionRow.score))
        .join(FrameRow, FrameRow.id == DetectionRow.frame_id)
        .where(FrameRow.camera == camera, FrameRow.capture_us.between(from_us, to_us))
        .group_by(DetectionRow.class_name)
    )
    return {name: score for name, score in connection.execute(query)}


def delete_events(connection: Connection, camera: str, segment: Segment) -> None:
    """Deletes all that was found, or was not, in a segment's frames, as part of the connection's transaction."""
    for first, last in segment.sequences:
        for table in (FrameRow, SkippedFrameRow):
            connection.execute(
                delete(table).where(
                    table.camera == camera, table.epoch == segment.epoch, table.sequence.between(first, last)
                )
            )
        of = EmptyFramesRow
        blocks = (of.camera == camera, of.epoch == segment.epoch, of.block.between(first // FRAMES, last // FRAMES))
        for row in connection.execute(select(of.__table__).where(*blocks)).all():
            empty = EmptyFrames.from_row(row)
            left = {at: us for at, us in empty.captures.items() if not first <= at <= last}
            if left:
                empty.captures = left
                put_rows(connection, of, [empty.to_row()], update=CONTENT)
            else:
                connection.execute(delete(of).where(*blocks, of.block == row.block, of.model == row.model))
