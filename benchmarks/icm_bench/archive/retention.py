"""What a pass of retention costs, by how many segments there are: milliseconds.

What is made: rows of segments as the store writes them, of cameras by turns, in an SQLite index; and files for the
oldest, which are deleted. What is timed: a pass that finds nothing due, the plan of a batch of 256, its deletion with
all that a crash must not tear apart, and as the peak the unlinking of as many such files alone, with the same waits
for their folders.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.opening import open_database
from cloud_service.database.usage import read_usage
from cloud_service.retention.execution import Deleter
from cloud_service.retention.plan import MOST_ITEMS, Need, Planning, Scans
from cloud_service.retention.policy import Policy
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from cloud_service.store import RawRecord, RecordStore, Segment, SequenceSet
from cloud_service.store.index import Change, SegmentIndex, State
from cloud_service.store.segment import segment_path
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.folders import delete_files
from icm.service.clock import SystemClock
from icm_bench.report import RESULTS, print_rows, write_json

_SEGMENT_US = 10_000_000
_START_US = 1_790_000_000_000_000
_CONTENT = bytes(4000)
_ROWS = 5000


def _segments(count: int, cameras: int) -> Iterator[Segment]:
    for number in range(2, count // cameras + 2):
        start_us = _START_US + number * _SEGMENT_US
        for index in range(cameras):
            camera = f"camera-{index}"
            path = segment_path(camera, number, start_us)
            yield Segment(
                camera, number, 1, path, len(_CONTENT), 1, start_us, start_us, SequenceSet([(number, number)]), True,
                start_us, 4096, bytes(32),
            )  # fmt: skip


def _measure(folder: Path, count: int, cameras: int) -> dict[str, float]:
    root = folder / "records"
    database = open_database(f"sqlite:///{folder / 'cloud.db'}")
    index = SegmentIndex(database)
    store = RecordStore(root, index, 10.0, SystemClock())
    for camera in range(cameras):
        header = StreamHeader(bytes(32), f"camera-{camera}", 1, _START_US, 64, 48)
        record = Record(1, _START_US + 8 * 365 * 86_400_000_000, Kind.I, 0, 48, 1, bytes(64))
        store.append(header, [RawRecord(record, record.pack(header))])
    segments, oldest = _segments(count, cameras), list[Segment]()
    with tqdm(total=count, unit="segment", leave=False, disable=None) as progress:
        while some := list(islice(segments, _ROWS)):
            oldest += some[: max(0, MOST_ITEMS + cameras - len(oldest))]
            index.write([Change(each.camera, each.number, each, State.WHOLE) for each in some])
            progress.update(len(some))
    for name in (root, folder / "peer"):
        for each in oldest:
            (name / each.path).parent.mkdir(parents=True, exist_ok=True)
            (name / each.path).write_bytes(_CONTENT)
    view, scans = DatabaseView(database, root), Scans()

    def planning(seconds: float) -> Planning:
        policy = Policy.of(RetentionSettings.model_validate({"records": {"max_age_seconds": seconds}}))
        now = _START_US + (count // cameras + 2) * _SEGMENT_US
        return Planning(
            policy, view, scans, now, read_usage(database), Need(), lambda item, reason: False, lambda item: False
        )

    begun = time.perf_counter()
    if list(planning(1e9).planned()):
        raise AssertionError("something was due that is not")
    idle = time.perf_counter()
    due_after = (count // cameras + 2 - oldest[MOST_ITEMS - 1].number) * _SEGMENT_US / 1e6 - 1
    batch = next(planning(due_after).batches())
    planned = time.perf_counter()
    deleter = Deleter(
        root=root, store=store, database=database, storage=ArchiveStorage(str(folder)), check=lambda: None
    )
    done = deleter.delete(batch, "bench", _START_US)
    deleted = time.perf_counter()
    gone = [each.item.number for each in done.planned]
    if len(gone) != len(batch):
        raise AssertionError(f"{len(gone)} of {len(batch)} were deleted")
    delete_files(folder / "peer", [each.path for each in oldest[: len(batch)]])
    unlinked = time.perf_counter()
    store.close()
    database.dispose()
    return {
        "segments": count,
        "batch": len(batch),
        "pass with nothing due ms": round((idle - begun) * 1e3, 1),
        "plan of a batch ms": round((planned - idle) * 1e3, 1),
        "deletion ms": round((deleted - planned) * 1e3, 1),
        "unlinking alone ms": round((unlinked - deleted) * 1e3, 1),
        "times unlinking alone": round((deleted - planned) / (unlinked - deleted), 1),
    }


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench retention", description=__doc__)
    parser.add_argument("--segments", type=int, default=1_000_000, help="(default: %(default)s; 0.4 kB of disk each)")
    parser.add_argument("--base", type=int, default=10_000, help="segments of the base (default: %(default)s)")
    parser.add_argument("--cameras", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where all is made, and removed (default: for temporary files)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    for count in (options.base, options.segments):
        with tempfile.TemporaryDirectory(prefix="icm-retention-", dir=options.folder) as folder:
            rows.append(_measure(Path(folder), count // options.cameras * options.cameras, options.cameras))
    print_rows(rows)
    print(f"written to {write_json('retention', {'cameras': options.cameras, 'rows': rows}, options.results)}")
    return 0
