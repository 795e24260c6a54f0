"""An evidence file of thousands of records: how fast it is checked, beside decoding them alone, and in how much memory.

A store of short pictures is made without an edge, a real cloud renders and exports it, and a process of its own checks
the file, so that what it takes of memory is its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cloud_service.database.opening import open_database
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.encoder import Encoder
from icm.errors import IcmError
from icm.service.clock import ManualClock
from icm.testing.processes import Service

_WIDTH, _HEIGHT = 64, 48
_PICTURES = 50
_FRAME_US = 100_000
_SEGMENT_RECORDS = 100
_START_US = 1_790_000_000_000_000
_ANY_PORT = "127.0.0.1:0"

# What getrusage says of a process begins with what its parent took.
_CHECK = """
import json, sys, time
from icm.codec.bundle.loading import Bundle
from icm.evidence.checks.verification import verify_case
from pathlib import Path
bundle = Bundle.load(Path(sys.argv[2]), threads=1)
started = time.perf_counter()
findings = verify_case(Path(sys.argv[1]), key=None, bundles=lambda: [bundle])
seconds = time.perf_counter() - started
status = Path("/proc/self/status").read_text()
(peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "wrong": findings.first_wrong}))
"""
_DECODE = """
import json, sys, time, zipfile
from icm.codec.bitstream.record import parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from pathlib import Path
bundle = Bundle.load(Path(sys.argv[2]), threads=1)
started, decoder = time.perf_counter(), Decoder(bundle)
with zipfile.ZipFile(sys.argv[1]) as case:
    for name in sorted(name for name in case.namelist() if name.endswith(".icm")):
        header, records = parse_stream(case.read(name))
        for record in records:
            decoder.decode(record, header.width, header.height)
seconds = time.perf_counter() - started
status = Path("/proc/self/status").read_text()
(peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "wrong": ""}))
"""


def _made(folder: Path, records: int) -> None:
    """A store of one camera whose segments are sealed, as a cloud finds it at its start."""
    folder.mkdir(parents=True)
    bundle = Bundle.load(DEFAULT_BUNDLE, threads=1)
    encoder, noise = Encoder(bundle), np.random.default_rng(3)
    ground = noise.integers(60, 180, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    coded = []
    for number in range(_PICTURES):
        picture = ground.copy()
        picture[10:30, number % 40 : number % 40 + 16] = 220
        coded.append(encoder.encode(picture, 4, intra=True))
    clock = ManualClock(_START_US)
    database = open_database(f"sqlite:///{folder / 'cloud.db'}")
    seconds = _SEGMENT_RECORDS * _FRAME_US / 1e6
    store = RecordStore(folder / "records", SegmentIndex(database), seconds, clock)
    header = StreamHeader(bundle.codec_id, "gate", 1, _START_US, _WIDTH, _HEIGHT)
    for number in range(records):
        record = coded[number % _PICTURES].record(number + 1, _START_US + number * _FRAME_US)
        store.append(header, [RawRecord(record, record.pack(header))])
        clock.advance(_FRAME_US / 1e6)
    store.close()
    database.dispose()


async def _exported(folder: Path, export: Callable[[str, int, Path], Any], records: int, output: Path) -> None:
    common = {"bundle": str(DEFAULT_BUNDLE.resolve()), "threads": 1, "metrics": {"address": _ANY_PORT}}
    settings = {
        "ingest": {"address": _ANY_PORT},
        "store": {"folder": str(folder)},
        "detector": {"kind": "none"},
        "archive": {"segment_seconds": _SEGMENT_RECORDS * _FRAME_US / 1e6},
    }
    cloud = Service("icm-cloud", common | settings, folder)
    try:
        address = f"127.0.0.1:{(await cloud.listening()).grpc}"
        await asyncio.to_thread(export, address, records, output)
    finally:
        cloud.kill()


def _child(program: str, case: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", program, str(case), str(DEFAULT_BUNDLE.resolve())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["wrong"]:
        raise IcmError(f"the benchmark's own export does not hold: {found['wrong']}")
    return found


def large_case(folder: Path, export: Callable[[str, int, Path], Any], records: int) -> dict[str, Any]:
    """Measures one case.

    Args:
        folder: for the store and the file; it must not exist.
        export: waits for the videos of so many frames, and exports all to a file from the cloud at an address.
        records: how many.

    Returns:
        A row of figures.

    Raises:
        IcmError: the file does not hold.
    """
    _made(folder, records)
    output = folder / "case.zip"
    started = time.perf_counter()
    asyncio.run(_exported(folder, export, records, output))
    made = time.perf_counter() - started
    check, plain = _child(_CHECK, output), _child(_DECODE, output)
    return {
        "records": records,
        "bytes": output.stat().st_size,
        "render_and_export_seconds": made,
        "verify_seconds": check["seconds"],
        "verify_records_per_second": records / check["seconds"],
        "time_of_decoding_alone": check["seconds"] / plain["seconds"],
        "verify_peak_mb": check["peak_mb"],
        "decoding_peak_mb": plain["peak_mb"],
    }
