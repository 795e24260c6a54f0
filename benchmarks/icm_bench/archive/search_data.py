"""The databases of a made archive: an SQLite file that is kept for the next run, and the same rows in PostgreSQL.

The file is made by what makes it in a running cloud: events are folded segment by segment, and those of the newest
segments are committed and wait for it. Whoever is interrupted goes on there, as each transaction says how far each
camera is. PostgreSQL is given the rows of that file, as folding all of them once more
would take it longer than the benchmark; how fast it folds is measured on a part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import DeclarativeBase
from tqdm import tqdm

import icm_bench.archive.search_scenes as scenes
from cloud_service.database.opening import open_database
from cloud_service.database.sightings_tables import (
    ActivityRow,
    BoxBlockRow,
    BoxesRow,
    FoldingRow,
    RecordActivityRow,
    SegmentClassRow,
    SightingRow,
)
from cloud_service.database.statements import transaction
from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow
from cloud_service.events.store import EventStore
from cloud_service.sightings.activity import count_bytes
from cloud_service.sightings.folding import fold_events, set_folded
from icm.atomic_file import write_atomically
from icm_bench.archive.search_scenes import SIZE, MadeSegment, Scale, looked_again, made_segments

TABLES: tuple[type[DeclarativeBase], ...] = (
    *(FrameRow, DetectionRow, EmptyFramesRow, BoxesRow, BoxBlockRow, SegmentClassRow, SightingRow, ActivityRow),
    *(RecordActivityRow, FoldingRow),
)
_VERSION = 1
"""Of what is made: raised whenever that changes."""
_TOGETHER = 64
"""Segments of one transaction."""
_WAITING_US = 40_000_000
"""How long before the end what was found is not folded yet."""
_COPIED = 2000


def archive_folder(scale: Scale, cache: Path) -> Path:
    """Where an archive is kept."""
    return cache / f"{_VERSION}-{scale.frames}-{scale.cameras}-{scale.days}"


def sqlite_archive(scale: Scale, cache: Path) -> tuple[Engine, dict[str, Any]]:
    """The archive in SQLite, and what making it took; made, or made further, if it is not there yet."""
    folder = archive_folder(scale, cache)
    facts, path = folder / "made.json", folder / "archive.db"
    folder.mkdir(parents=True, exist_ok=True)
    database = open_database(f"sqlite:///{path}")
    if not facts.exists():
        made = fold_all(database, made_segments(scale), scale)
        made["detections"] += fold_again(database, looked_again(scale))
        # Others shall find the file as it is: what was written last is in its journal yet.
        database.dispose()
        write_atomically(facts, json.dumps(made))
    return database, json.loads(facts.read_text())


def fold_all(database: Engine, segments: Iterable[MadeSegment], scale: Scale) -> dict[str, Any]:
    """Puts segments into a database as a cloud does, but for those that it has; returns how many frames and boxes they
    had, and the seconds, which are None where another process did a part.
    """
    frames, boxes, seconds = 0, 0, 0.0
    coming, store, known = iter(segments), EventStore(database), _folded(database)
    with tqdm(total=scale.frames, unit="frame", leave=False, disable=None) as progress:
        while some := list(islice(coming, _TOGETHER)):
            missing = [made for made in some if made.segment.number >= known.get(made.segment.camera, 0)]
            started = time.perf_counter()
            if missing:
                _fold(database, store, missing, scale)
            seconds += time.perf_counter() - started
            news = sum(len({event.key for event in events}) for _, events in some)
            frames, boxes = frames + news, boxes + sum(len(of.detections) for _, events in some for of in events)
            progress.update(news)
    return {"frames": frames, "detections": boxes, "folding s": None if known else round(seconds)}


def _folded(database: Engine) -> dict[str, int]:
    """Of each camera the first segment that is not folded yet."""
    with database.connect() as connection:
        return {row.camera: row.next_segment for row in connection.execute(select(FoldingRow.__table__))}


def _fold(database: Engine, store: EventStore, segments: Sequence[MadeSegment], scale: Scale) -> None:
    """Folds segments, or commits what was found in them where they are too new for that."""
    with transaction(database) as connection:
        for segment, events in segments:
            if segment.last_capture_us < scale.end_us - _WAITING_US:
                if events:
                    fold_events(connection, segment, SIZE, events)
                count_bytes(connection, segment)
                set_folded(connection, segment.camera, segment.number + 1)
    for segment, events in segments:
        if events and segment.last_capture_us >= scale.end_us - _WAITING_US:
            store.commit(events, (), {})


def fold_again(database: Engine, segments: Iterable[MadeSegment]) -> int:
    """Folds what a model found that looked at the past again; returns how many boxes that were."""
    coming, boxes = iter(segments), 0
    while some := list(islice(coming, _TOGETHER)):
        with transaction(database) as connection:
            for segment, events in some:
                fold_events(connection, segment, SIZE, events)
                boxes += sum(len(of.detections) for of in events)
    return boxes


def folding_speed(database: Engine, scale: Scale, frames: int) -> int:
    """Frames a second that an empty database folds, of the archive's first segments in which something is seen."""
    some: list[MadeSegment] = []
    known = 0
    for made in made_segments(scale):
        if made.events and known < frames:
            some.append(made)
            known += scenes.FRAMES
        elif known >= frames:
            break
    begun = time.perf_counter()
    fold_all(database, some, scale)
    return round(known / (time.perf_counter() - begun))


def copy_rows(source: Engine, target: Engine) -> None:
    """Copies all rows into empty tables of PostgreSQL, and lets it look at what it has, as autovacuum does."""
    with source.connect() as reading, target.begin() as writing:
        cursor: Any = writing.connection.cursor()
        for table in TABLES:
            names = ", ".join(f'"{column.name}"' for column in table.__table__.columns)
            rows = reading.execution_options(yield_per=_COPIED).execute(select(table.__table__))
            with cursor.copy(f"COPY {table.__tablename__} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
    with target.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def row_counts(database: Engine) -> dict[str, int]:
    """Rows by table."""
    with database.connect() as connection:
        return {
            table.__tablename__: connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES
        }


def size_mb(database: Engine) -> float:
    """What the tables and indexes take of the disk."""
    asked = {
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        "postgresql": "SELECT pg_database_size(current_database())",
    }
    with database.connect() as connection:
        return round(float(connection.scalar(text(asked[database.dialect.name])) or 0) / 1e6)
