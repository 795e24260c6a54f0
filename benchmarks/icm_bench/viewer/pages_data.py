"""The database that the viewer's pages are measured on: the archive that searches are, and what a viewer reads besides.

The archive (``icm_bench.archive.search_data``) has what detectors found. A copy of it is given the rows of its
segments: of the last week one for every ten seconds of each camera, which are a million where there are 16, with their
videos, and for what is older one for each busy ten seconds and for each ten minutes in which nothing was seen. Rows are
those that a cloud writes; there are no files, which no page opens.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select
from tqdm import tqdm

from cloud_service.archive.fragments import Fragment, pack_fragments
from cloud_service.database.opening import open_database
from cloud_service.database.sightings_tables import BoxesRow, SightingRow
from cloud_service.database.statements import transaction
from cloud_service.database.tables import CursorRow, RecordSegmentRow, VideoSegmentRow
from cloud_service.database.usage import Amount, Tier, UsageKey, add_usage
from cloud_service.database.viewer_tables import ReviewRow, SeenRow, ViewerSessionRow
from cloud_service.store import Segment, SequenceSet
from cloud_service.store.index import State
from cloud_service.store.index.rows import row_of
from cloud_service.store.segment import segment_path
from icm.atomic_file import write_atomically
from icm_bench.archive.search_data import archive_folder, sqlite_archive
from icm_bench.archive.search_scenes import EPOCH, FRAME_US, FRAMES, SEGMENT_US, START_US, Scale

_VERSION = 1
"""Of what is made: raised whenever that changes."""
_DAYS_WITH_VIDEO = 7
_QUIET_SEGMENTS = 60
"""How many that are older one stands for, in which nothing was seen: ten minutes, beyond which no segment lasts."""
_A_DAY = 86_400_000_000 // SEGMENT_US
_TOGETHER = 5000
_BLOCK = 4096
_INIT = "0123456789abcdef"
_SEEN = 2000
"""Newest sightings of which somebody marked every other one as seen."""


def viewer_database(scale: Scale, cache: Path, person: str) -> Path:
    """The file, made if it is not there yet; nobody is logged in.

    Args:
        scale: of the archive.
        cache: where archives are kept.
        person: the name of an account that has looked through some of it.
    """
    sqlite_archive(scale, cache)[0].dispose()
    folder = archive_folder(scale, cache)
    path, made = folder / "viewer.db", folder / f"viewer-{_VERSION}.json"
    if not made.exists():
        for old in folder.glob("viewer.db*"):
            old.unlink()
        with closing(sqlite3.connect(folder / "archive.db")) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
        database = open_database(f"sqlite:///{path}")
        segments = _add_segments(database, scale)
        database.dispose()
        write_atomically(made, json.dumps({"segments": segments}))
    database = open_database(f"sqlite:///{path}")
    _look_through(database, person)
    database.dispose()
    return path


def _add_segments(database: Engine, scale: Scale) -> int:
    """Adds the rows of segments and videos, where cameras are read on from, and what all of it takes."""
    count = 0
    with tqdm(unit="segment", leave=False, disable=None) as progress:
        for camera in scale.names():
            with database.connect() as connection:
                busy = set(connection.scalars(select(BoxesRow.number).where(BoxesRow.camera == camera)))
            coming = _segments(camera, busy, scale.days)
            with_video = (scale.days - _DAYS_WITH_VIDEO) * _A_DAY
            used = {tier: Amount() for tier in (Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS)}
            while some := list(islice(coming, _TOGETHER)):
                videos = [_video(of) for of in some if of.number > with_video]
                with transaction(database) as connection:
                    connection.execute(insert(RecordSegmentRow), [row_of(of, State.WHOLE) for of in some])
                    if videos:
                        connection.execute(insert(VideoSegmentRow), videos)
                used[Tier.RECORDS] += _amount((of.size, of.disk_bytes) for of in some)
                used[Tier.VIDEO] += _amount((of["bytes"], of["disk_bytes"]) for of in videos)
                thumbnails = ((of["thumbnail_bytes"], of["thumbnail_disk_bytes"]) for of in videos)
                used[Tier.THUMBNAILS] += _amount(thumbnails)
                count += len(some)
                progress.update(len(some))
            last = scale.days * _A_DAY
            with transaction(database) as connection:
                add_usage(connection, {UsageKey(camera, tier): amount for tier, amount in used.items()})
                cursor = {"detect_segment": last + 1, "detect_offset": 0, "archive_segment": last + 1}
                connection.execute(insert(CursorRow), {"camera": camera, **cursor})
    return count


def _look_through(database: Engine, person: str) -> None:
    """Somebody who is not logged in, and has seen every other one of the newest sightings."""
    with transaction(database) as connection:
        for table in (ViewerSessionRow, SeenRow, ReviewRow):
            connection.execute(delete(table))
        newest = select(SightingRow.id, SightingRow.start_us).order_by(
            SightingRow.start_us.desc(), SightingRow.id.desc()
        )
        rows = connection.execute(newest.limit(_SEEN)).all()
        marks = [{"user_name": person, "sighting": row.id, "start_us": row.start_us} for row in rows[::2]]
        connection.execute(insert(SeenRow), marks)


def _segments(camera: str, busy: set[int], days: int) -> Iterator[Segment]:
    """A camera's segments, the oldest first."""
    chance = random.Random(camera)
    slot, end, recent = 0, days * _A_DAY, (days - _DAYS_WITH_VIDEO) * _A_DAY
    while slot < end:
        slots = 1
        if slot < recent and slot + 1 not in busy:
            while slots < _QUIET_SEGMENTS and slot + slots < recent and slot + slots + 1 not in busy:
                slots += 1
        yield _segment(camera, slot, slots, chance.randrange(*((400, 2000) if slot + 1 in busy else (80, 140))))
        slot += slots


def _segment(camera: str, slot: int, slots: int, frame_bytes: int) -> Segment:
    start_us, first, records = START_US + slot * SEGMENT_US, slot * FRAMES + 1, slots * FRAMES
    last_us = start_us + slots * SEGMENT_US - FRAME_US
    size = frame_bytes * records
    return Segment(
        camera=camera,
        number=slot + 1,
        epoch=EPOCH,
        path=segment_path(camera, slot + 1, start_us),
        size=size,
        records=records,
        first_capture_us=start_us,
        last_capture_us=last_us,
        sequences=SequenceSet([(first, first + records - 1)]),
        sealed=True,
        kept_from_us=last_us,
        disk_bytes=-(-size // _BLOCK) * _BLOCK,
        sha256=bytes(32),
    )


def _video(segment: Segment) -> dict[str, Any]:
    """The row of a segment's video, which takes ten times its records: two fragments of five seconds."""
    half, start_us, size = SEGMENT_US // 2, segment.first_capture_us, 10 * segment.size
    fragments = [Fragment(1000 + of * size // 2, size // 2, start_us + of * half, half) for of in range(2)]
    path = segment.path.removesuffix(".icm")
    return {
        "camera": segment.camera, "number": segment.number, "start_us": start_us, "duration_us": SEGMENT_US,
        "frames": segment.records, "path": f"{path}.mp4", "bytes": size,
        "disk_bytes": -(-size // _BLOCK) * _BLOCK, "thumbnail_path": f"{path}.jpg", "thumbnail_bytes": 6000,
        "thumbnail_disk_bytes": 2 * _BLOCK, "init": _INIT, "fragments": pack_fragments(fragments, start_us),
    }  # fmt: skip


def _amount(sizes: Iterator[tuple[int, int]]) -> Amount:
    listed = list(sizes)
    return Amount(len(listed), sum(size for size, _ in listed), sum(disk for _, disk in listed))
