"""How sure detectors were of each class in a stretch of time."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, select

from cloud_service.database.sightings_tables import BoxesRow, SegmentClassRow
from cloud_service.database.tables import DetectionRow, FrameRow
from cloud_service.events.packed_boxes import unpack
from cloud_service.events.packed_frames import LONGEST_SEGMENT_US


def best_scores(connection: Connection, camera: str, from_us: int, to_us: int) -> dict[str, float]:
    """The highest score of each class that any model found in a camera's frames.

    It knows what detectors have looked at: of segments that are sealed and detected it leaves nothing out. Packed
    scores are rounded to 1/65535.

    Args:
        from_us: capture time of the first frame that counts, microseconds since 1970.
        to_us: capture time of the first one that does not count any more.
    """
    best: dict[str, float] = {}
    within = (BoxesRow.camera == camera, BoxesRow.first_us >= from_us, BoxesRow.first_us < to_us)
    same = and_(
        SegmentClassRow.camera == BoxesRow.camera,
        SegmentClassRow.number == BoxesRow.number,
        SegmentClassRow.model == BoxesRow.model,
    )
    whole = (
        select(SegmentClassRow.class_name, SegmentClassRow.best_score).select_from(BoxesRow).join(SegmentClassRow, same)
    )
    for name, score in connection.execute(whole.where(*within, BoxesRow.last_us < to_us)):
        best[name] = max(best.get(name, 0.0), score)
    # What reaches over an end is looked at frame by frame.
    reaching_in = (
        BoxesRow.first_us >= from_us - LONGEST_SEGMENT_US,
        BoxesRow.first_us < from_us,
        BoxesRow.last_us >= from_us,
    )
    for condition in ((BoxesRow.camera == camera, *reaching_in), (*within, BoxesRow.last_us >= to_us)):
        for data in connection.scalars(select(BoxesRow.data).where(*condition)):
            for frame in unpack(data).frames():
                if from_us <= frame.capture_us < to_us:
                    for found in frame.detections:
                        best[found.class_name] = max(best.get(found.class_name, 0.0), found.score)
    hot = (
        select(DetectionRow.class_name, func.max(DetectionRow.score))
        .join(FrameRow, FrameRow.id == DetectionRow.frame_id)
        .where(FrameRow.camera == camera, FrameRow.capture_us >= from_us, FrameRow.capture_us < to_us)
        .group_by(DetectionRow.class_name)
    )
    for name, score in connection.execute(hot):
        best[name] = max(best.get(name, 0.0), score)
    return best
