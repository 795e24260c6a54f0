"""What is stored of a camera in a short window, segment by segment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, and_, select

from cloud_service.archive.fragments import Fragment, unpack_fragments
from cloud_service.database.retention_tables import StillRow
from cloud_service.database.tables import RecordSegmentRow, TombstoneRow, VideoSegmentRow
from cloud_service.store.index.rows import State
from cloud_service.store.segment import LONGEST_US
from cloud_service.viewer.playback.stored.windows import DAY_US, Window

MOST_SEGMENTS = 20_000
"""In one answer: a day of segments of 10 s is 8640."""
LONGEST_WINDOW_US = DAY_US
_FRAME_US = 100_000
"""How long the frame of a segment that has no other is taken to last."""


class Kept(StrEnum):
    """What is left of a segment."""

    VIDEO = "video"
    RECORDS = "records"
    """From which video is rendered."""
    STILL = "still"
    """One picture of those that were deleted."""
    DELETED = "deleted"
    MISSING = "missing"
    """What nobody deleted through the cloud, and is not there."""


_KEPT = {
    State.WHOLE: Kept.RECORDS,
    # What comes before its end can be read.
    State.DAMAGED: Kept.RECORDS,
    State.GONE: Kept.MISSING,
    State.DELETED: Kept.DELETED,
}


@dataclass(frozen=True)
class StoredSegment:
    """A segment, and what is left of it.

    Attributes:
        number: of the camera's.
        first_us: capture time of its first frame, microseconds since 1970.
        end_us: where its last frame ends.
        kept: the best that is left.
        size: bytes of its records, which are or were; 0 where that is not known.
        reason: why it was deleted, and by which rule; empty where it was not.
        video_bytes: size of the MP4 in the archive; 0 without one.
        init: name of the init segment that its fragments need.
        fragments: of the MP4; empty where they were not asked for.
    """

    number: int
    first_us: int
    end_us: int
    kept: Kept
    size: int
    reason: str = ""
    video_bytes: int = 0
    init: str = ""
    fragments: tuple[Fragment, ...] = ()


def stored_statement(camera: str, window: Window) -> Select[Any]:
    """Segments whose records are there, with their videos, by capture time."""
    records, videos = RecordSegmentRow.__table__.c, VideoSegmentRow.__table__.c
    return (
        select(
            records.number,
            records.first_capture_us,
            records.last_capture_us,
            records.records,
            records.size,
            records.state,
            *_video_columns(),
        )
        .join_from(
            RecordSegmentRow.__table__,
            VideoSegmentRow.__table__,
            and_(videos.camera == records.camera, videos.number == records.number),
            isouter=True,
        )
        .where(
            records.camera == camera,
            # No segment is longer, so what is older need not be read.
            records.first_capture_us >= window.from_us - LONGEST_US,
            records.first_capture_us < window.to_us,
            records.last_capture_us >= window.from_us,
        )
        .order_by(records.first_capture_us)
        .limit(MOST_SEGMENTS)
    )


def deleted_statement(camera: str, window: Window) -> Select[Any]:
    """Segments whose records were deleted, with what is left of them, by capture time."""
    graves, videos, stills = TombstoneRow.__table__.c, VideoSegmentRow.__table__.c, StillRow.__table__.c
    return (
        select(
            graves.number,
            graves.first_capture_us,
            graves.last_capture_us,
            graves.records,
            graves.size,
            graves.reason,
            graves.rule,
            stills.path.label("still"),
            *_video_columns(),
        )
        .join_from(
            TombstoneRow.__table__,
            VideoSegmentRow.__table__,
            and_(videos.camera == graves.camera, videos.number == graves.number),
            isouter=True,
        )
        .join(StillRow.__table__, and_(stills.camera == graves.camera, stills.number == graves.number), isouter=True)
        .where(
            graves.camera == camera,
            graves.last_capture_us >= window.from_us,
            graves.last_capture_us < window.to_us + LONGEST_US,
            graves.first_capture_us < window.to_us,
        )
        .order_by(graves.last_capture_us)
        .limit(MOST_SEGMENTS)
    )


def read_segments(connection: Connection, camera: str, window: Window, *, fragments: bool) -> list[StoredSegment]:
    """What is and was stored of a camera in a window, by capture time.

    Args:
        connection: to the database.
        camera: its name.
        window: a day at most.
        fragments: whether those of the videos are asked for.
    """
    stored = [_stored(row, fragments) for row in connection.execute(stored_statement(camera, window))]
    deleted = [_deleted(row, fragments) for row in connection.execute(deleted_statement(camera, window))]
    return sorted([*stored, *deleted], key=lambda segment: (segment.first_us, segment.number))


def _video_columns() -> list[Any]:
    videos = VideoSegmentRow.__table__.c
    return [videos.path, videos.bytes, videos.start_us, videos.duration_us, videos.init, videos.fragments]


def _stored(row: Any, fragments: bool) -> StoredSegment:
    return _with_video(row, _KEPT[State(row.state)], "", fragments)


def _deleted(row: Any, fragments: bool) -> StoredSegment:
    reason = f"{row.reason}: {row.rule}" if row.rule else row.reason
    return _with_video(row, Kept.STILL if row.still else Kept.DELETED, reason, fragments)


def _with_video(row: Any, kept: Kept, reason: str, fragments: bool) -> StoredSegment:
    length = row.last_capture_us - row.first_capture_us
    last = length // (row.records - 1) if row.records > 1 else _FRAME_US
    segment = StoredSegment(
        row.number, row.first_capture_us, row.last_capture_us + max(last, 1), kept, row.size, reason
    )
    # A video from before there were fragments cannot be played piece by piece.
    if not row.path or not row.fragments:
        return segment
    return StoredSegment(
        number=row.number,
        first_us=min(row.start_us, row.first_capture_us),
        end_us=max(row.start_us + row.duration_us, segment.end_us),
        kept=Kept.VIDEO,
        size=row.size,
        reason=reason,
        video_bytes=row.bytes,
        init=row.init,
        fragments=unpack_fragments(row.fragments, row.start_us) if fragments else (),
    )
