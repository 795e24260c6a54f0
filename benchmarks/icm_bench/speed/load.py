"""``icm-bench load``: how many cameras one cloud takes, and what each costs it.

More and more simulated cameras replay coded frames to one cloud on this machine: ten of a clip over and over, the first
as an I record, each in a message of its own, as edges with ``cloud.batch_seconds`` 0 send them. Latency counts from the
moment a record was due until the camera knew that it is persisted. The cameras are one process on the same machine and
take their share of it, which is measured too.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.encoder import CodedFrame, Encoder
from icm.errors import IcmError
from icm.rpc.channels import open_channel
from icm.testing import assets
from icm.testing.processes import Service
from icm_bench.delivery.simulated_camera import Measured, SimulatedCamera
from icm_bench.report import RESULTS, print_table, write_json

CAMERAS = "1,4,16,64,256"
WIDTH, HEIGHT = 640, 384
FRAMES = 10
QUALITY = 3.0
_SETTLE_SECONDS = 3.0
"""After all cameras have begun and before anything is measured."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """What a number of cameras did to the cloud.

    Attributes:
        records: persisted per second.
        megabytes: persisted per second.
        p50_ms: of the latency.
        p95_ms: of the latency.
        p99_ms: of the latency.
        cpu: of the cloud's process, in cores.
        cpu_ms_a_record: the cloud's time on a CPU for each record.
        cameras_cpu: of the process that is all cameras, in cores.
        rss_mb: the cloud's memory at the end.
        rss_kb_a_camera: how much of it came with each camera.
        grpc_ms_a_record: like ``cpu_ms_a_record``, of a server that only takes the same messages and answers them.
    """

    cameras: int
    records: float
    megabytes: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu: float
    cpu_ms_a_record: float
    cameras_cpu: float
    rss_mb: float
    rss_kb_a_camera: float
    grpc_ms_a_record: float = math.nan


class Load:
    """The cameras' side."""

    def __init__(self, bundle: Bundle, frames: Sequence[CodedFrame], rate: float, seconds: float) -> None:
        self._bundle, self._frames, self._rate, self._seconds = bundle, frames, rate, seconds

    async def measure(self, cameras: int, port: int, process: int) -> Row:
        """Measures all but what gRPC takes of it.

        Args:
            process: the cloud's.
        """
        measured = Measured()
        before = _resident_bytes(process)
        async with open_channel(f"127.0.0.1:{port}", allow_plaintext=False) as channel:
            running = [
                asyncio.create_task(
                    self._camera(n, measured).run(channel, self._rate, random.uniform(0, 1 / self._rate))
                )
                for n in range(cameras)
            ]
            try:
                await _sleep(_SETTLE_SECONDS, running)
                measured.since = time.monotonic()
                cpu, own_cpu = _cpu_seconds(process), time.process_time()
                await _sleep(self._seconds, running)
                cpu, own_cpu = _cpu_seconds(process) - cpu, time.process_time() - own_cpu
                seconds = time.monotonic() - measured.since
                latencies = sorted(measured.latencies)
                resident = _resident_bytes(process)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        if not latencies:
            raise IcmError(f"the cloud persisted nothing of {cameras} cameras within {seconds:.0f} s")
        p50, p95, p99 = (1000 * latencies[int(q * (len(latencies) - 1))] for q in (0.5, 0.95, 0.99))
        return Row(
            cameras, len(latencies) / seconds, measured.bytes / seconds / 1e6, p50, p95, p99, cpu / seconds,
            1000 * cpu / len(latencies), own_cpu / seconds, resident / 1e6, (resident - before) / 1e3 / cameras,
        )  # fmt: skip

    def _camera(self, number: int, measured: Measured) -> SimulatedCamera:
        return SimulatedCamera(f"camera-{number}", self._frames, (WIDTH, HEIGHT), self._bundle.codec_id, measured)


async def _sleep(seconds: float, running: Sequence[asyncio.Task[None]]) -> None:
    """Waits for this long; an exception that ends a camera before the time is over is raised at once."""
    done, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


@contextmanager
def store_only(bundle: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """A cloud that persists and does nothing else; gives its port and process."""
    with _serving("icm_bench.speed.store_server", str(bundle), str(folder)) as serving:
        yield serving


@contextmanager
def _serving(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """A process of one of our servers, which prints its port; gives its port and process."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise IcmError(f"{module} did not start; what it said stands above")
            yield int(line), server.pid
        finally:
            server.kill()


@contextmanager
def whole_cloud(bundle: Path, folder: Path, weights: Path) -> Iterator[tuple[int, int]]:
    """icm-cloud with decoder, detector and archive; gives its port and process."""
    settings = {
        "bundle": str(bundle.resolve()),
        "ingest": {"address": "127.0.0.1:0"},
        "metrics": {"address": "127.0.0.1:0"},
        "store": {"folder": str(folder)},
        "detector": {"kind": "yolo", "weights": str(weights.resolve())},
    }
    service = Service("icm-cloud", settings, folder)
    try:
        yield asyncio.run(service.listening()).grpc, service.process.pid
    finally:
        service.kill()


def coded_frames(bundle: Bundle, clip: Path) -> list[CodedFrame]:
    """The clip's first frames, as a camera would code them."""
    encoder = Encoder(bundle)
    with av.open(str(clip)) as container:
        pictures = (
            np.asarray(frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray(), np.uint8)
            for frame in container.decode(video=0)
        )
        return [encoder.encode(picture, QUALITY) for picture, _ in zip(pictures, range(FRAMES), strict=False)]


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench load", description=__doc__)
    parser.add_argument("--cameras", default=CAMERAS, help="how many, one run each (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="records a second and camera (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run (default: %(default)s)")
    parser.add_argument("--readers", action="store_true", help="decode, detect and archive as well")
    parser.add_argument("--clip", type=Path, help="a video file of your own (default: the demo's)")
    parser.add_argument("--weights", type=Path, help="YOLO weights of your own (default: the demo's)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    load_before = round(os.getloadavg()[0], 1)  # what else keeps the machine busy
    try:
        rows = _measure(options)
    except IcmError as error:
        print(f"icm-bench load: {error}", file=sys.stderr)
        return 1
    print_table([field.name for field in fields(Row)], [tuple(asdict(row).values()) for row in rows])
    print(f"load average of the machine before: {load_before}")
    name = "load-readers" if options.readers else "load"
    figures = {"rate": options.rate, "seconds": options.seconds, "load_before": load_before}
    print(f"written to {write_json(name, {**figures, 'rows': [asdict(row) for row in rows]}, options.results)}")
    return 0


def _measure(options: argparse.Namespace) -> list[Row]:
    bundle = Bundle.load(options.bundle, 1)
    frames = coded_frames(bundle, options.clip or assets.fetch_clip(assets.CACHE, print))
    load = Load(bundle, frames, options.rate, options.seconds)
    weights = None
    if options.readers:
        weights = options.weights or assets.fetch(assets.WEIGHTS, assets.CACHE, print)
    rows = []
    for cameras in tqdm([int(text) for text in options.cameras.split(",")], unit="run", leave=False, disable=None):
        with tempfile.TemporaryDirectory(prefix="icm-load-") as folder:
            cloud = (
                whole_cloud(options.bundle, Path(folder), weights)
                if weights
                else store_only(options.bundle, Path(folder))
            )
            with cloud as (port, process):
                row = asyncio.run(load.measure(cameras, port, process))
        with _serving("icm_bench.speed.null_ingest") as (port, process):
            least = asyncio.run(load.measure(cameras, port, process))
        rows.append(replace(row, grpc_ms_a_record=least.cpu_ms_a_record))
    return rows
