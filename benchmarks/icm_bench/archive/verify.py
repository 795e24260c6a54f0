"""How fast an archive is verified against its chains: leaves and heads alone, and with every file read and hashed.

The store has as many segments as asked for, each of one record as large as ten seconds at 25 kbit/s are. Beside it
stands sha256sum on the same files, which were all written a moment before and so come from memory: what a disk adds is
the same for both. Each figure is the best of some rounds; the ways take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Engine

from cloud_service.database.opening import open_database
from cloud_service.proof.database_view import SqlView
from cloud_service.proof.keeper import open_keeper
from cloud_service.proof.verification import CameraCheck, DatabaseView, Status
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.errors import StoredDamageError
from icm.service.clock import ManualClock
from icm.service.health import Problems
from icm_bench.report import RESULTS, print_rows, write_json

_START_US = 1_790_000_000_000_000
_SECONDS = 10
_CAMERAS = ("gate", "yard")


def _made(folder: Path, database: Engine, segments: int, size: int) -> None:
    """A store of so many segments of each camera, whose chains are closed."""
    clock = ManualClock(_START_US)
    keeper = open_keeper(
        folder=folder,
        records=folder / "records",
        store="benchmark",
        database=database,
        clock=clock,
        problems=Problems(),
    )
    keeper.work()
    store = RecordStore(folder / "records", SegmentIndex(database), _SECONDS, clock, on_sealed=keeper.sealed)
    for camera in _CAMERAS:
        header = StreamHeader(bytes(32), camera, 1, _START_US, 64, 48)
        for number in range(segments):
            at = _START_US + number * _SECONDS * 1_000_000
            record = Record(number + 1, at, Kind.I, 0, 48, 1, os.urandom(size))
            store.append(header, [RawRecord(record, record.pack(header))])
            clock.advance(_SECONDS / len(_CAMERAS))
    store.close()
    keeper.stop()


def _verified(folder: Path, database: DatabaseView | None, deep: bool) -> float:
    """Seconds that a verification takes, which finds nothing wrong.

    Raises:
        StoredDamageError: it does.
    """
    started = time.perf_counter()
    for camera in _CAMERAS:
        check = CameraCheck(
            records=folder / "records",
            chains=folder / "proof",
            camera=camera,
            now_us=time.time_ns() // 1000,
            database=database,
            deep=deep,
        )
        wrong = [each for each in check.verdicts(0, 1 << 62) if each.status is not Status.OK]
        if wrong or check.broken:
            raise StoredDamageError(f"the benchmark's own store does not hold: {[*wrong, *check.broken][0]}")
    return time.perf_counter() - started


def _summed(folder: Path) -> float:
    """Seconds that sha256sum takes for all files."""
    started = time.perf_counter()
    command = "find records -name '*.icm' -print0 | xargs -0 sha256sum > /dev/null"
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    return time.perf_counter() - started


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench verify", description=__doc__)
    parser.add_argument("--segments", type=int, default=10_000, help="in all (default: %(default)s)")
    parser.add_argument("--size", type=int, default=31_250, help="bytes of each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of which counts (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the store is made (default: where the system keeps such)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="icm-verify-", dir=options.folder) as name:
        folder = Path(name)
        database = open_database(f"sqlite:///{folder / 'cloud.db'}")
        _made(folder, database, options.segments // len(_CAMERAS), options.size)
        ways: dict[str, Callable[[], float]] = {
            "verify": lambda: _verified(folder, SqlView(database), False),
            "verify, files alone": lambda: _verified(folder, None, False),
            "verify --deep": lambda: _verified(folder, SqlView(database), True),
            "sha256sum": lambda: _summed(folder),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(options.rounds):
            for way, seconds in ways.items():
                best[way] = min(best[way], seconds())
        sizes = [path.stat().st_size for path in (folder / "records").rglob("*.icm")]
        chains = sum(path.stat().st_size for path in (folder / "proof").glob("*.chain"))
        database.dispose()
    reading = {"verify --deep", "sha256sum"}
    rows = [
        {
            "way": way,
            "segments/s": round(len(sizes) / seconds),
            "MB/s": round(sum(sizes) / 1e6 / seconds) if way in reading else None,
            "time of sha256sum": round(seconds / best["sha256sum"], 2),
        }
        for way, seconds in best.items()
    ]
    print_rows(rows)
    figures = {
        "segments": len(sizes),
        "segment bytes": options.size,
        "chain bytes a segment": round(chains / len(sizes)),
        "rows": rows,
    }
    print(f"written to {write_json('verify', figures, options.results)}")
    return 0
