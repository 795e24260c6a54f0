"""What a start of the record store costs, by how many segments it holds: seconds, and memory at its peak.

What is made: for each segment a file of one stream header and one record of 64 bytes, where the store would put it,
ten seconds after the one before, of cameras by turns; and its row in an SQLite index, as the store writes it. A real
segment is some hundred times as large, but a start reads only the newest of each camera: of the others it asks for the
size.
The files were written a moment ago, so that the system still knows their names; a machine that was just switched on has
to fetch these from its disk first.

Then a child process opens the database and starts the store on it, as icm-cloud does, asks what ListCameras does and
for frames anywhere, and says how long each took and how large it became. The base is another child with few segments.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from cloud_service.database.opening import open_database
from cloud_service.store import RecordStore, Segment, SequenceSet
from cloud_service.store.index import Change, SegmentIndex, State
from cloud_service.store.segment import segment_path
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.service.clock import SystemClock
from icm_bench.report import RESULTS, print_rows, write_json

_SEGMENT_US = 10_000_000
_START_US = 1_790_000_000_000_000
_PAYLOAD = bytes(64)
_EPOCH = 1
_ROWS = 5000
_FRAMES_FOUND = 100


def _segments(root: Path, count: int, cameras: int) -> Iterator[Segment]:
    """Writes segment files, and tells of each."""
    for number in range(1, count // cameras + 1):
        start_us = _START_US + number * _SEGMENT_US
        for index in range(cameras):
            camera = f"camera-{index}"
            header = StreamHeader(bytes(32), camera, _EPOCH, start_us, 640, 384)
            content = header.pack() + Record(number, start_us, Kind.I, 0, 48, 1, _PAYLOAD).pack(header)
            path = segment_path(camera, number, start_us)
            target = root / path
            if index == 0 or not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            yield Segment(
                camera, number, _EPOCH, path, len(content), 1, start_us, start_us, SequenceSet([(number, number)]), True
            )


def _make(folder: Path, count: int, cameras: int) -> None:
    database = open_database(_url(folder))
    index, segments = SegmentIndex(database), _segments(folder / "records", count, cameras)
    with tqdm(total=count, unit="segment", leave=False, disable=None) as progress:
        while some := list(islice(segments, _ROWS)):
            index.write([Change(each.camera, each.number, each, State.WHOLE) for each in some])
            progress.update(len(some))
    database.dispose()


def _start(folder: Path, segments: int) -> dict[str, float]:
    """Starts a store, in a process of its own."""
    before = _peak_mb()
    begun, worked = time.perf_counter(), time.process_time()
    database = open_database(_url(folder))
    opened = time.perf_counter()
    store = RecordStore(folder / "records", SegmentIndex(database), 10.0, SystemClock())
    started, done = time.perf_counter(), time.process_time()
    cameras = store.cameras()
    listed = time.perf_counter()
    held = sum(camera.records for camera in cameras)
    if held != segments:
        raise AssertionError(f"the store holds {held} records, {segments} were made")
    of_each = segments // len(cameras)
    for place in range(_FRAMES_FOUND):
        store.find(cameras[place % len(cameras)].camera, _EPOCH, 1 + place * of_each // _FRAMES_FOUND)
    found = time.perf_counter()
    peak = _peak_mb()
    store.close()
    return {
        "segments": segments,
        "database s": round(opened - begun, 2),
        "store s": round(started - opened, 2),
        "start s": round(started - begun, 2),
        "of it on the processor s": round(done - worked, 2),
        "ListCameras ms": round((listed - started) * 1e3, 2),
        "a frame found ms": round((found - listed) * 1e3 / _FRAMES_FOUND, 2),
        "imports MB": round(before),
        "peak MB": round(peak),
    }


def _peak_mb() -> float:
    """Largest resident size of this process so far; getrusage would tell that of the parent, if it was larger."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'cloud.db'}"


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench index", description=__doc__)
    parser.add_argument("--segments", type=int, default=500_000, help="(default: %(default)s; 4 kB of disk each)")
    parser.add_argument("--base", type=int, default=5_000, help="segments of the base (default: %(default)s)")
    parser.add_argument("--cameras", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, help="where the stores are made, and removed (default: for temporary files)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    for count in (options.base, options.segments):
        whole = count // options.cameras * options.cameras
        with tempfile.TemporaryDirectory(prefix="icm-index-", dir=options.folder) as folder:
            _make(Path(folder), whole, options.cameras)
            with ProcessPoolExecutor(1, get_context("spawn")) as child:
                rows.append(child.submit(_start, Path(folder), whole).result())
    base, large = rows
    ratios = {
        "segments": round(large["segments"] / base["segments"], 1),
        "start": round(large["start s"] / base["start s"], 1),
        "memory beyond imports": round(
            (large["peak MB"] - large["imports MB"]) / max(1.0, base["peak MB"] - base["imports MB"]), 1
        ),
    }
    print_rows(rows)
    print("times the base:", ", ".join(f"{name} {ratio:g}" for name, ratio in ratios.items()))
    figures = {"cameras": options.cameras, "rows": rows, "ratios": ratios}
    print(f"written to {write_json('index', figures, options.results)}")
    return 0
