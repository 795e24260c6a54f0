"""How active each camera was by minute, hour and day: what was found by class, and bytes of records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete
from sqlalchemy.orm import InstrumentedAttribute

from cloud_service.database.sightings_tables import ActivityRow, RecordActivityRow
from cloud_service.database.statements import add_to_rows
from cloud_service.events.packed_boxes import PackedFrame
from cloud_service.store import Segment

RESOLUTIONS = (60, 3600, 86_400)
"""Seconds of a minute, an hour and a day, in UTC."""
_MINUTE_US = 60_000_000


class _Bucket(NamedTuple):
    seconds: int
    start_us: int
    class_name: str


@dataclass
class _Counts:
    frames: int = 0
    boxes: int = 0
    best_score: float = 0.0

    def add(self, other: _Counts) -> None:
        self.frames += other.frames
        self.boxes += other.boxes
        self.best_score = max(self.best_score, other.best_score)


def count_frames(
    connection: Connection, camera: str, model: str, frames: Sequence[PackedFrame], times: int = 1
) -> None:
    """Counts what one model found, as part of the connection's transaction.

    Args:
        times: 1 to add it, -1 to take it away again. The best score stays for as long as anything is left.
    """
    minutes: dict[tuple[int, str], _Counts] = defaultdict(_Counts)
    for frame in frames:
        start_us, seen = frame.capture_us // _MINUTE_US * _MINUTE_US, set[str]()
        for found in frame.detections:
            count = minutes[start_us, found.class_name]
            if found.class_name not in seen:
                seen.add(found.class_name)
                count.frames += 1
            count.boxes += 1
            if found.score > count.best_score:
                count.best_score = found.score
    counts: dict[_Bucket, _Counts] = defaultdict(_Counts)
    for (minute_us, class_name), of_minute in minutes.items():
        for seconds in RESOLUTIONS:
            counts[_Bucket(seconds, _floor(minute_us, seconds), class_name)].add(of_minute)
    rows = [
        {
            "camera": camera,
            "model": model,
            **bucket._asdict(),
            "frames": times * count.frames,
            "boxes": times * count.boxes,
            "best_score": count.best_score if times > 0 else 0.0,
        }
        for bucket, count in sorted(counts.items())
    ]
    add_to_rows(connection, ActivityRow, rows, greatest=("best_score",))
    if times < 0:
        _forget_empty(connection, ActivityRow, ActivityRow.boxes, camera, counts)


def count_bytes(connection: Connection, segment: Segment, times: int = 1) -> None:
    """Counts a segment's bytes, spread evenly over its time, as part of the connection's transaction.

    Args:
        times: 1 to add them, -1 to take them away again.
    """
    parts = [
        (_Bucket(seconds, start_us, ""), size)
        for seconds in RESOLUTIONS
        for start_us, size in _spread(segment, seconds * 1_000_000)
    ]
    rows = [
        {"camera": segment.camera, "seconds": of.seconds, "start_us": of.start_us, "bytes": times * size}
        for of, size in parts
    ]
    add_to_rows(connection, RecordActivityRow, rows)
    if times < 0:
        _forget_empty(connection, RecordActivityRow, RecordActivityRow.bytes, segment.camera, dict(parts))


def _spread(segment: Segment, width_us: int) -> list[tuple[int, int]]:
    """A segment's bytes by the start of each stretch of ``width_us`` that it reaches into; together all of them."""
    first, last = segment.first_capture_us, segment.last_capture_us
    parts: list[tuple[int, int]] = []
    before, start = 0, first // width_us * width_us
    while True:
        end = start + width_us
        until = segment.size if last < end else segment.size * (end - first) // (last - first)
        if until > before:
            parts.append((start, until - before))
        if last < end:
            return parts
        before, start = until, end


def _forget_empty(
    connection: Connection,
    table: type[ActivityRow] | type[RecordActivityRow],
    column: InstrumentedAttribute[int],
    camera: str,
    buckets: Iterable[_Bucket],
) -> None:
    for seconds, start_us in sorted({(bucket.seconds, bucket.start_us) for bucket in buckets}):
        of_bucket = (table.camera == camera, table.seconds == seconds, table.start_us == start_us)
        connection.execute(delete(table).where(*of_bucket, column <= 0))


def _floor(capture_us: int, seconds: int) -> int:
    width_us = seconds * 1_000_000
    return capture_us // width_us * width_us
