"""``icm-bench framing``: what a record costs on the wire beside its payload, everything counted.

A real edge sends a still clip's records to a real cloud through a proxy that counts: the record format, protobuf, gRPC
and HTTP/2 with its acknowledgements and pings are in the bytes of the connection; TCP and IP add a header to each
segment, whose number the kernel tells.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from icm.codec.bitstream.record import RECORD_OVERHEAD, Kind, Record, parse_stream
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing.processes import Service
from icm_bench.delivery.fault_proxy import FaultProxy
from icm_bench.report import RESULTS, print_table, write_json

FPS = 10
WIDTH, HEIGHT = 160, 96
SEGMENT_HEADER_BYTES = 52
"""Of IPv4, 20, and of TCP with time stamps, 32."""
BATCH_SECONDS = "0,0.25,0.5,1,2"
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Row:
    """What a delay for batching makes of the framing. All but the first three in bytes a record.

    Attributes:
        p_share: records that are P records, of all.
        payload: the record's own.
        record: what the record format adds.
        stream: what the connection carries beside the payload, up: record, protobuf, gRPC, HTTP/2.
        wire: the same with the headers of TCP and IP.
        down: what comes back, headers included.
    """

    batch_seconds: float
    records: int
    p_share: float
    payload: float
    record: float
    stream: float
    wire: float
    down: float


async def measure(batch_seconds: float, frames: int, bundle: Path, folder: Path) -> Row:
    """Plays a clip once, through and to its end."""
    clip = folder / "clip.mkv"
    write_still_clip(clip, frames)
    cloud = Service("icm-cloud", _cloud(bundle, folder), folder)
    edge: Service | None = None
    proxy: FaultProxy | None = None
    try:
        proxy = FaultProxy((await cloud.listening()).grpc)
        await proxy.start()
        edge = Service("icm-edge", _edge(bundle, folder, proxy.port, clip, batch_seconds), folder)
        if await edge.ended(60 + 3 * frames / FPS) != 0:
            raise IcmError(f"the edge did not deliver the clip. {edge.tail()}")
        await proxy.stop()
        await cloud.stop()
    finally:
        for service in (edge, cloud):
            if service is not None:
                service.kill()
    records = _stored(folder)
    count, payload = len(records), sum(len(record.payload) for record in records)
    return Row(
        batch_seconds,
        count,
        sum(record.kind is Kind.P for record in records) / count,
        payload / count,
        RECORD_OVERHEAD,
        (proxy.carried["up"] - payload) / count,
        (proxy.carried["up"] + SEGMENT_HEADER_BYTES * proxy.segments["up"] - payload) / count,
        (proxy.carried["down"] + SEGMENT_HEADER_BYTES * proxy.segments["down"]) / count,
    )


def _stored(folder: Path) -> list[Record]:
    return [record for path in folder.rglob("*.icm") for record in parse_stream(path.read_bytes())[1]]


def write_still_clip(path: Path, frames: int) -> None:
    """A still scene with a spot that moves through it."""
    scene = np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for index in range(frames):
            picture = scene.copy()
            left = index % (WIDTH - 16)
            picture[16:48, left : left + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _cloud(bundle: Path, folder: Path) -> dict[str, object]:
    return {
        "bundle": str(bundle.resolve()),
        "threads": 1,
        "ingest": {"address": _ANY_PORT},
        "metrics": {"address": _ANY_PORT},
        "store": {"folder": str(folder / "cloud")},
        "detector": {"kind": "none"},
    }


def _edge(bundle: Path, folder: Path, port: int, clip: Path, batch_seconds: float) -> dict[str, object]:
    return {
        "bundle": str(bundle.resolve()),
        "threads": 1,
        "cloud": {"address": f"127.0.0.1:{port}", "batch_seconds": batch_seconds},
        "frame_api": {"address": _ANY_PORT},
        "metrics": {"address": _ANY_PORT},
        "spool": {"folder": str(folder / "edge")},
        "cameras": [{"name": "gate", "source": {"kind": "file", "path": str(clip)}}],
    }


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench framing", description=__doc__)
    parser.add_argument("--batch-seconds", default=BATCH_SECONDS, help="one run each (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=300, help="of each run, 10 a second (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    try:
        delays = [float(text) for text in options.batch_seconds.split(",")]
        for delay in tqdm(delays, unit="run", leave=False, disable=None):
            with tempfile.TemporaryDirectory(prefix="icm-framing-") as folder:
                rows.append(asyncio.run(measure(delay, options.frames, options.bundle, Path(folder))))
    except IcmError as error:
        print(f"icm-bench framing: {error}", file=sys.stderr)
        return 1
    print_table([field.name for field in fields(Row)], [tuple(asdict(row).values()) for row in rows])
    figures = {"fps": FPS, "frames": options.frames, "rows": [asdict(row) for row in rows]}
    print(f"written to {write_json('framing', figures, options.results)}")
    return 0
