"""What the timeline draws of one camera: what is kept, how much moved, and what was seen.

A short window is answered segment by segment, a longer one by minute, hour or day; in neither case does the answer grow
with what is stored beyond its ``MOST_BUCKETS``. Times are milliseconds since 1970, as browsers count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.sightings.timeline import Bucket, read_activity
from cloud_service.viewer.playback.stored.overview import LEVELS, read_kept, seconds_of
from cloud_service.viewer.playback.stored.segments import StoredSegment, read_segments
from cloud_service.viewer.playback.stored.windows import HOUR_US, Window

EXACT_US = 2 * HOUR_US
"""The longest window that is answered segment by segment."""
MOST_SIGHTINGS = 500
_JOINED_US = 2_000_000
"""A pause between two segments that is no gap: a camera that sends a frame now and then has longer ones, which the
distance of its frames tells."""
_LEAST_US = 10_000_000
"""Over which what a segment takes is spread at least: a single frame would be as high as nothing else is."""
Answer = dict[str, Any]


def read_timeline(connection: Connection, camera: str, window: Window) -> Answer:
    """What is drawn of a window.

    Returns:
        ``bucket``: milliseconds of a bucket, 0 in an answer segment by segment.
        ``kept``: [start, end, what is kept, reason] each, in order.
        ``activity``: [start, end, bits per second] each.
        ``sightings``: [start, end, class, score, best frame's time] each, the latest first; null in buckets.
        ``classes``: [start, end, class, boxes] each; null segment by segment.
        ``more``: whether there are more sightings than were read.
    """
    if window.length_us <= EXACT_US:
        return _by_segment(connection, camera, window)
    return _by_bucket(connection, camera, window)


def spans(segments: Iterable[StoredSegment]) -> list[tuple[int, int, str, str]]:
    """Runs of segments of which the same is left: start, end (microseconds), what is kept, why the rest is not."""
    runs: list[tuple[int, int, str, str]] = []
    for segment in segments:
        kept, reason = str(segment.kept), segment.reason
        if runs:
            start, end, before, why = runs[-1]
            pause = max(_JOINED_US, (segment.end_us - segment.first_us) // 10)
            if (before, why) == (kept, reason) and segment.first_us <= end + pause:
                runs[-1] = start, max(end, segment.end_us), kept, reason
                continue
        runs.append((segment.first_us, segment.end_us, kept, reason))
    return runs


def _by_segment(connection: Connection, camera: str, window: Window) -> Answer:
    segments = read_segments(connection, camera, window, fragments=False)
    query = SightingQuery(cameras=(camera,), from_us=window.from_us, to_us=window.to_us)
    page = search_sightings(connection, query, MOST_SIGHTINGS, None)
    return {
        "bucket": 0,
        "kept": [[_ms(start), _ms(end), kept, reason] for start, end, kept, reason in spans(segments)],
        "activity": [
            [_ms(of.first_us), _ms(of.end_us), of.size * 8_000_000 // max(of.end_us - of.first_us, _LEAST_US)]
            for of in segments
            if of.size
        ],
        "sightings": sightings_of(page.rows),
        "classes": None,
        "more": page.next is not None,
    }


def _by_bucket(connection: Connection, camera: str, window: Window) -> Answer:
    seconds, activity = _activity(connection, camera, window)
    width = seconds * 1_000_000
    runs: list[list[Any]] = []
    for bucket in read_kept(connection, camera, window, seconds):
        start, end, kept = _ms(bucket.start_us), _ms(bucket.start_us + width), str(bucket.kept)
        if runs and runs[-1][1] == start and runs[-1][2] == kept:
            runs[-1][1] = end
        else:
            runs.append([start, end, kept, ""])
    classes: dict[tuple[int, str], int] = {}
    for of in activity:
        for row in of.classes:
            # Of several models the one that found the most counts.
            key = of.start_us, row.class_name
            classes[key] = max(classes.get(key, 0), row.boxes)
    return {
        "bucket": seconds * 1000,
        "kept": runs,
        "activity": [
            [_ms(of.start_us), _ms(of.start_us + width), of.bytes * 8 // seconds] for of in activity if of.bytes > 0
        ],
        "sightings": None,
        "classes": [
            [_ms(start), _ms(start + width), name, boxes] for (start, name), boxes in classes.items() if boxes > 0
        ],
        "more": False,
    }


def _activity(connection: Connection, camera: str, window: Window) -> tuple[int, list[Bucket]]:
    """Seconds of a bucket, and a camera's activity by bucket: in longer ones where so many classes were found that
    the shorter do not fit into an answer.
    """
    seconds = seconds_of(window)
    for longer in (*(level for level in LEVELS if level > seconds), None):
        width = seconds * 1_000_000
        found, rest = read_activity(connection, camera, "", seconds, window.from_us // width * width, window.to_us)
        if rest is None:
            return seconds, found
        if longer is not None:
            seconds = longer
    while rest is not None:
        more, rest = read_activity(connection, camera, "", seconds, rest, window.to_us)
        found += more
    return seconds, found


def sightings_of(rows: Sequence[Any]) -> list[list[Any]]:
    """Rows of ``sightings`` as pages take them: start, end, class, best score, time of the best frame."""
    return [
        [_ms(row.start_us), _ms(row.end_us), row.class_name, round(row.best_score, 3), _ms(row.best_us)] for row in rows
    ]


def _ms(us: int) -> int:
    return us // 1000
