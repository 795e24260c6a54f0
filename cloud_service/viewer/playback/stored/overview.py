"""What is stored of a camera in a long window: by bucket of an hour or a day, whatever the number of segments.

Segments are not read. From each bucket on, an index tells where the next segment is, in the bucket of which the next
look begins: a look a bucket, in one statement.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, literal, literal_column, select

from cloud_service.database.tables import RecordSegmentRow, TombstoneRow, VideoSegmentRow
from cloud_service.viewer.playback.stored.segments import Kept
from cloud_service.viewer.playback.stored.windows import Window

MOST_BUCKETS = 2000
LEVELS = (60, 3600, 86_400)
"""Seconds of a bucket, as activity is counted."""


class KeptBucket(NamedTuple):
    """What is left of a bucket.

    Attributes:
        start_us: its start, microseconds since 1970.
        kept: the best that is left of anything in it.
    """

    start_us: int
    kept: Kept


def seconds_of(window: Window) -> int:
    """Seconds of the buckets that a window is shown in: the shortest of which there are not too many."""
    fitting = (seconds for seconds in LEVELS if window.length_us <= MOST_BUCKETS * seconds * 1_000_000)
    return next(fitting, LEVELS[-1])


LONGEST_WINDOW_US = MOST_BUCKETS * LEVELS[-1] * 1_000_000


def kept_statement(camera: str, window: Window, seconds: int) -> Select[Any]:
    """Of each tier, the times of segments that are the first in their bucket."""
    records, videos, graves = RecordSegmentRow.__table__.c, VideoSegmentRow.__table__.c, TombstoneRow.__table__.c
    there = videos.path != literal_column("''")  # as it stands in the index of what is there
    looks = [
        _looks(Kept.VIDEO, videos.start_us, (videos.camera == camera) & there, window, seconds),
        _looks(Kept.RECORDS, records.first_capture_us, records.camera == camera, window, seconds),
        _looks(Kept.DELETED, graves.last_capture_us, graves.camera == camera, window, seconds),
    ]
    return looks[0].union_all(*looks[1:])  # type: ignore[return-value]


def read_kept(connection: Connection, camera: str, window: Window, seconds: int) -> list[KeptBucket]:
    """What is left of a camera's buckets, oldest first; those that never had anything are left out."""
    width = seconds * 1_000_000
    best: dict[int, Kept] = {}
    order = (Kept.VIDEO, Kept.RECORDS, Kept.DELETED)
    for kept, at in connection.execute(kept_statement(camera, window, seconds)):
        start = at // width * width
        best[start] = min(best.get(start, Kept.DELETED), Kept(kept), key=order.index)
    return [KeptBucket(start, kept) for start, kept in sorted(best.items())]


def _looks(
    kept: Kept, time: ColumnElement[int], where: ColumnElement[bool], window: Window, seconds: int
) -> Select[Any]:
    width = seconds * 1_000_000

    def next_from(bound: Any) -> Any:
        query = select(time).where(where, time >= bound, time < window.to_us).order_by(time).limit(1)
        return query.scalar_subquery()

    first = window.from_us // width * width
    looks = select(next_from(first).label("at")).cte(f"{kept}_looks", recursive=True)
    bound = looks.c.at - (looks.c.at % width) + width
    looks = looks.union_all(select(next_from(bound)).where(looks.c.at.is_not(None)))
    return select(literal(str(kept)).label("kept"), looks.c.at).where(looks.c.at.is_not(None))
