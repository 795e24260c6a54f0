"""How many frames a second the event store takes, on SQLite and on PostgreSQL.

A batch of frames is committed as the pipeline does, with the camera's cursor, in one transaction. Beside it, in one
run and on the same database, stands how it was done before: a look-up and an ORM object for each frame, which is a
statement a row. Frames have detections, or none, or the half of them has. Each figure is the best of some rounds; the
two ways take turns.

PostgreSQL is a server of the benchmark's own, which waits for the disk at each commit; it is left out where PostgreSQL
is not installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_service.database.opening import open_database
from cloud_service.database.tables import CursorRow, DetectionRow, FrameRow
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.store import Position
from icm.frame_id import FrameId
from icm.testing.postgres import PostgresServer, find_programs
from icm_bench.report import RESULTS, print_rows, write_json

_CAMERAS = 8
_DETECTIONS = 3
"""Of a frame that has any."""
_EVERY = {"all": 1, "half": 2, "none": 0}
"""Which frames have detections."""

Commit = Callable[[Engine, Sequence[FrameEvent], dict[str, Position]], None]


def _in_bulk(database: Engine, events: Sequence[FrameEvent], cursors: dict[str, Position]) -> None:
    EventStore(database).commit(events, (), cursors)


def _row_by_row(database: Engine, events: Sequence[FrameEvent], cursors: dict[str, Position]) -> None:
    """As the event store did before: for each frame a query and, unless it is there, an object."""
    with Session(database) as session, session.begin():
        for event in events:
            known = select(FrameRow).filter_by(**event.key._asdict(), model=event.model)
            if session.scalars(known.order_by(FrameRow.id.desc()).limit(1)).first() is None:
                found = [DetectionRow(**vars(each)) for each in event.detections]
                row = FrameRow(**event.key._asdict(), capture_us=event.capture_us, model=event.model, detections=found)
                session.add(row)
        for camera, position in cursors.items():
            cursor = session.get(CursorRow, camera)
            if cursor is None:
                cursor = CursorRow(camera=camera, detect_segment=0, detect_offset=0, archive_segment=0)
                session.add(cursor)
            cursor.detect_segment, cursor.detect_offset = position


_WAYS: dict[str, Commit] = {"in bulk": _in_bulk, "row by row": _row_by_row}


def _batches(way: str, every: int, frames: int, batch: int) -> Iterator[list[FrameEvent]]:
    """Batches of consecutive frames of some cameras by turns, which are of one way alone."""
    cameras = [f"{way}-{every}-{number}" for number in range(_CAMERAS)]
    found = tuple(Detection("person", 0.5, 1.0, 2.0, 3.0, 4.0) for _ in range(_DETECTIONS))
    for start in range(0, frames, batch):
        yield [
            FrameEvent(
                FrameId(cameras[n % _CAMERAS], 1, 1 + n // _CAMERAS),
                n * 100_000,
                "benchmark",
                found if every and (n // _CAMERAS) % every == 0 else (),
            )
            for n in range(start, min(start + batch, frames))
        ]


def _rates(database: Engine, every: int, frames: int, batch: int, rounds: int) -> dict[str, float]:
    """Frames a second of each way, the best of the rounds; ways take turns."""
    best = dict.fromkeys(_WAYS, 0.0)
    for number in range(rounds):
        for way, commit in _WAYS.items():
            batches = list(_batches(f"{way}-{number}", every, frames, batch))
            start = time.perf_counter()
            for place, events in enumerate(batches, 1):
                commit(database, events, {event.key.camera: Position(place, 0) for event in events})
            best[way] = max(best[way], frames / (time.perf_counter() - start))
    return best


@contextmanager
def _databases(folder: Path) -> Iterator[dict[str, Engine]]:
    programs = find_programs()
    if programs is None:
        print("PostgreSQL is not installed here: SQLite alone")
        yield {"SQLite": open_database(f"sqlite:///{folder}/events.db")}
        return
    with PostgresServer(programs) as server:
        yield {"SQLite": open_database(f"sqlite:///{folder}/events.db"), "PostgreSQL": open_database(server.url())}


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench events", description=__doc__)
    parser.add_argument("--frames", type=int, default=4096, help="of a round (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="frames committed together (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of which counts (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="icm-events-") as folder, _databases(Path(folder)) as databases:
        for name, database in databases.items():
            for which, every in _EVERY.items():
                rates = _rates(database, every, options.frames, options.batch, options.rounds)
                rows.append(
                    {
                        "database": name,
                        "frames with detections": which,
                        **{f"{way}, frames/s": round(rate) for way, rate in rates.items()},
                        "ratio": round(rates["in bulk"] / rates["row by row"], 1),
                    }
                )
            database.dispose()
    print_rows(rows)
    figures = {"frames": options.frames, "batch": options.batch, "detections": _DETECTIONS, "rows": rows}
    print(f"written to {write_json('events', figures, options.results)}")
    return 0
