"""What is drawn along time: activity by minute, hour and day, and the boxes of frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from cloud_service.database.sightings_tables import ActivityRow, BoxesRow, RecordActivityRow
from cloud_service.database.tables import DetectionRow, FrameRow
from cloud_service.detection.base import Detection
from cloud_service.events.event import FrameEvent
from cloud_service.events.packed_boxes import unpack
from cloud_service.events.packed_frames import LONGEST_SEGMENT_US
from icm.errors import ConfigError
from icm.frame_id import FrameId

MOST_BUCKETS = 2000
MOST_ACTIVITY_BYTES = 500_000
"""Of what was found, in one answer; a minute, hour or day stays whole."""
_MOST_OF_ONE = 3_500_000
"""Of a single minute, hour or day: gRPC takes 4 MiB."""
_ROW_BYTES = 50
"""A row of ``activity`` in an answer, without its names."""
MOST_BOXES = 5000
"""Of frames in one answer, some 50 bytes each: an answer has no more than a segment beyond that."""
_ROWS = 16


@dataclass
class Bucket:
    """A minute, hour or day.

    Attributes:
        start_us: its start, microseconds since 1970.
        bytes: of records.
        classes: rows of ``activity``.
    """

    start_us: int
    bytes: int = 0
    classes: list[Any] = field(default_factory=list)


def read_activity(
    connection: Connection, camera: str, class_name: str, seconds: int, from_us: int, to_us: int
) -> tuple[list[Bucket], int | None]:
    """A camera's activity in the buckets that start in [from, to), oldest first; and where the rest begins, if any.

    Buckets without any are left out.

    Raises:
        ConfigError: so much was found in a single bucket that no answer holds it.
    """
    found, recorded = (
        select(table.__table__)
        .where(table.camera == camera, table.seconds == seconds, table.start_us >= from_us, table.start_us < to_us)
        .order_by(table.start_us)
        for table in (ActivityRow, RecordActivityRow)
    )
    if class_name:
        found = found.where(ActivityRow.class_name == class_name)
    buckets: dict[int, Bucket] = {}
    end, size = to_us, 0
    for row in connection.execute(found.limit(_MOST_OF_ONE // _ROW_BYTES + 1)):
        size += _ROW_BYTES + len(row.class_name.encode()) + len(row.model.encode())
        if size > MOST_ACTIVITY_BYTES and buckets and row.start_us not in buckets:
            end = row.start_us
            break
        if size > _MOST_OF_ONE:
            raise ConfigError(
                f"GetActivity: more was found of camera {camera!r} in {seconds} s than fits into an answer: ask for a"
                " class at a time"
            )
        buckets.setdefault(row.start_us, Bucket(row.start_us)).classes.append(row)
    for row in connection.execute(recorded.where(RecordActivityRow.start_us < end)):
        buckets.setdefault(row.start_us, Bucket(row.start_us)).bytes = row.bytes
    return [bucket for _, bucket in sorted(buckets.items())], end if end < to_us else None


class FrameBoxes(NamedTuple):
    """What was found in one frame.

    Attributes:
        event: the frame, and what was found.
        width: of its picture, in pixels; 0 if its segment is not folded yet.
        height: of its picture.
        sightings: for each detection its sighting's ``id``; empty if its segment is not folded yet.
    """

    event: FrameEvent
    width: int
    height: int
    sightings: tuple[int, ...]


def boxes_statement(camera: str, from_us: int, to_us: int, model: str) -> Select[Any]:
    """Rows of ``boxes`` that reach into a stretch of time, in the order they begin."""
    query = select(BoxesRow.__table__).where(
        BoxesRow.camera == camera,
        BoxesRow.first_us >= from_us - LONGEST_SEGMENT_US,
        BoxesRow.first_us < to_us,
        BoxesRow.last_us >= from_us,
    )
    return (query.where(BoxesRow.model == model) if model else query).order_by(BoxesRow.first_us)


def hot_statement(camera: str, from_us: int, to_us: int, model: str) -> Select[Any]:
    """Rows of ``frames`` and ``detections`` of a stretch of time, in the order of capture."""
    query = select(FrameRow.__table__, *list(DetectionRow.__table__.c)[2:]).join(
        DetectionRow, DetectionRow.frame_id == FrameRow.id
    )
    query = query.where(FrameRow.camera == camera, FrameRow.capture_us >= from_us, FrameRow.capture_us < to_us)
    return (
        (query.where(FrameRow.model == model) if model else query).order_by(FrameRow.capture_us).limit(MOST_BOXES + 1)
    )


def list_boxes(
    connection: Connection, camera: str, from_us: int, to_us: int, model: str = ""
) -> tuple[list[FrameBoxes], int | None]:
    """Frames captured in [from, to) in which something was found, oldest first; and where the rest begins, if any."""
    found: list[FrameBoxes] = []
    end, count = to_us, 0
    statement = boxes_statement(camera, from_us, to_us, model).execution_options(yield_per=_ROWS)
    with connection.execute(statement) as rows:
        for row in rows:
            if count >= MOST_BOXES and row.first_us > from_us:
                # All rows that follow begin no earlier.
                end = row.first_us
                break
            count += row.boxes
            for frame in unpack(row.data).frames():
                key = FrameId(camera, row.epoch, frame.sequence)
                event = FrameEvent(key, frame.capture_us, row.model, frame.detections)
                found.append(FrameBoxes(event, row.width, row.height, frame.sightings))
    hot = connection.execute(hot_statement(camera, from_us, end, model)).all()
    if len(hot) > MOST_BOXES:
        # What is cut off comes with the next answer, its frame whole.
        end = hot[-1].capture_us
    by_frame: dict[int, list[Any]] = {}
    for row in hot:
        by_frame.setdefault(row.id, []).append(row)
    for first, *rest in by_frame.values():
        detections = tuple(
            Detection(of.class_name, of.score, of.left, of.top, of.right, of.bottom) for of in (first, *rest)
        )
        key = FrameId(camera, first.epoch, first.sequence)
        found.append(FrameBoxes(FrameEvent(key, first.capture_us, first.model, detections), 0, 0, ()))
    wanted = [of for of in found if of.event.detections and from_us <= of.event.capture_us < end]
    wanted.sort(key=lambda of: of.event.capture_us)
    return wanted, end if end < to_us else None
