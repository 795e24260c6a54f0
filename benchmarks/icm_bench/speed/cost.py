"""``icm-bench cost``: what the services take of a machine (memory, disk) and give (frames per second).

Every figure is of the real processes. Memory is the peak of the resident set, as the kernel keeps it, so this runs on
Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
from tqdm import tqdm

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing import assets
from icm.testing.processes import Ports, Service
from icm.testing.scraping import Metrics
from icm_bench.report import RESULTS, print_table, write_json

ROOT = Path(__file__).parents[3]
WIDTH, HEIGHT = 640, 384
CAMERAS = 4
_LOWEST_PRIORITY = 19
_ANY_PORT = "127.0.0.1:0"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Figure:
    """One thing measured.

    Attributes:
        limit: what is wanted: the most that is allowed if ``at_most``, else the least. None: for information.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_most: bool = True

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        return "met" if (self.value <= self.limit if self.at_most else self.value >= self.limit) else "MISSED"

    def row(self) -> list[Any]:
        """As the table shows it."""
        wanted = "" if self.limit is None else f"{'at most' if self.at_most else 'at least'} {self.limit:g}"
        return [self.name, self.value, self.unit, wanted, self.verdict]


COLUMNS = ("figure", "value", "unit", "wanted", "verdict")


class Bench:
    """Runs the services on a clip of 640x384 and measures them."""

    def __init__(self, clip: Path, frames: int, bundle: Path, weights: Path, folder: Path, cleanup: ExitStack) -> None:
        """Prepares the measurements; nothing is started yet.

        Args:
            frames: how many the clip has.
        """
        self._clip, self._frames, self._bundle, self._weights = clip, frames, bundle, weights
        self._folder, self._cleanup = folder, cleanup

    async def edge_memory(self) -> list[Figure]:
        """An edge with four cameras, each coding the whole clip; the cloud is away, so the spool fills as well."""
        edge = self._edge("edge-memory", 1, CAMERAS)
        ports = await edge.listening()
        each = self._frames // CAMERAS

        def slowest(metrics: Metrics) -> float:
            coded = metrics.by("icm_edge_frames_total", "camera")
            return min(coded.values()) if len(coded) == CAMERAS else 0

        await _follow(f"edge, {CAMERAS} cameras", ports, slowest, each, edge)
        figure = Figure(f"edge memory, {CAMERAS} cameras", _peak_bytes(edge) / 1e6, "MB", 500)
        await edge.stop()
        return [figure]

    async def uplink_rate(self) -> list[Figure]:
        """Encode, gRPC and fsynced store. The cloud runs at the lowest priority, so that its own readers (decoder,
        archive) leave the cores to what is measured."""
        cloud, ports = await self._cloud("uplink", {"kind": "none"}, _LOWEST_PRIORITY)
        edge = self._edge("uplink", ports.grpc, 1)

        def persisted(metrics: Metrics) -> float:
            return metrics.total("icm_cloud_records_total", outcome="persisted")

        fps = await _follow("encode, gRPC, store", ports, persisted, self._frames, cloud)
        await edge.ended()
        cloud.kill()
        return [Figure("encode, gRPC, store", fps, "fps", 10, at_most=False)]

    async def readers(self) -> list[Figure]:
        """Decode, detect and archive of records that are stored already, and the cloud's memory at its end."""
        cloud, ports = await self._cloud("readers", {"kind": "yolo", "weights": str(self._weights.resolve())})
        edge = self._edge("readers", ports.grpc, 1)
        await edge.ended(600)

        def detected(metrics: Metrics) -> float:
            return metrics.total("icm_cloud_capture_to_detected_seconds_count")

        fps = await _follow("decode, detect, archive", ports, detected, self._frames, cloud)
        peak = _peak_bytes(cloud)
        if await cloud.stop() != 0:
            raise IcmError(f"the cloud did not end well. {cloud.tail()}")
        return [
            Figure("decode, detect, archive", fps, "fps", 3, at_most=False),
            Figure("cloud memory, YOLO loaded", peak / 1e6, "MB", 2500),
        ]

    async def _cloud(self, name: str, detector: dict[str, Any], priority: int = 0) -> tuple[Service, Ports]:
        folder = self._folder / name
        settings = {
            "bundle": str(self._bundle.resolve()),
            "ingest": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "store": {"folder": str(folder / "cloud")},
            "detector": detector,
        }
        service = Service("icm-cloud", settings, folder)
        self._cleanup.callback(service.kill)
        # At once: threads inherit it, and none but the first is there yet.
        os.setpriority(os.PRIO_PROCESS, service.process.pid, priority)
        return service, await service.listening()

    def _edge(self, name: str, cloud_port: int, cameras: int) -> Service:
        folder = self._folder / name
        source = {"kind": "file", "path": str(self._clip.resolve()), "pace": "fast"}
        settings = {
            "bundle": str(self._bundle.resolve()),
            "cloud": {"address": f"127.0.0.1:{cloud_port}"},
            "frame_api": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "spool": {"folder": str(folder / "edge")},
            "cameras": [{"name": f"camera-{number}", "source": source} for number in range(cameras)],
        }
        service = Service("icm-edge", settings, folder)
        self._cleanup.callback(service.kill)
        return service


async def _follow(title: str, ports: Ports, count: Callable[[Metrics], float], end: int, service: Service) -> float:
    """Waits until a count reaches its end; returns its growth per second from its first change seen on."""
    points: list[tuple[float, float]] = []
    with tqdm(desc=title, total=end, unit="frame", leave=False, disable=None) as bar:
        while not points or points[-1][1] < end:
            service.check()
            now = count(await asyncio.to_thread(Metrics.scrape, ports.metrics))
            if not points or now != points[-1][1]:
                points.append((time.monotonic(), now))
                bar.update(now - bar.n)
            await asyncio.sleep(_POLL_SECONDS)
    # What was there before the first change came at an unknown rate.
    (start, first), (stop, last) = points[1] if len(points) > 2 else points[0], points[-1]
    return (last - first) / (stop - start) if stop > start else 0.0


def _peak_bytes(service: Service) -> int:
    """The most memory that the process ever held."""
    for line in Path(f"/proc/{service.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise IcmError(f"the kernel tells no peak memory of {service.name}")


def install_size(extra: str, folder: Path) -> list[Figure]:
    """A fresh virtual environment with the project and one of its extras: size on the disk, and time it took.

    Raises:
        IcmError: it cannot be installed; holds the end of what pip said.
    """
    python = folder / "bin" / "python"
    started = time.monotonic()
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), f"{ROOT}[{extra}]"]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise IcmError(f"cannot install [{extra}]: {done.stderr[-1000:]}")
    seconds = time.monotonic() - started
    size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    return [
        Figure(f"install of [{extra}], whole environment", size / 1e6, "MB", 600 if extra == "edge" else None),
        Figure(f"install of [{extra}], time", seconds, "s"),
    ]


def make_clip(source: Path, target: Path, frames: int) -> None:
    """Writes a clip's first frames, scaled to 640x384, losslessly; over again from the start where it is short."""
    with av.open(str(source)) as container:
        first = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), frames)]
    with av.open(str(target), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(first[index % len(first)], format="rgb24")
            container.mux(stream.encode(picture.reformat(WIDTH, HEIGHT, "yuv420p")))
        container.mux(stream.encode(None))


async def _measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    weights = options.weights or assets.fetch(assets.WEIGHTS, assets.CACHE, print)
    clip = folder / "clip.mkv"
    make_clip(options.clip or assets.fetch_clip(assets.CACHE, print), clip, options.frames)
    figures: list[Figure] = []
    with ExitStack() as cleanup:
        bench = Bench(clip, options.frames, options.bundle, weights, folder, cleanup)
        for part in (bench.edge_memory, bench.uplink_rate, bench.readers):
            figures += await part()
    return figures


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench cost", description=__doc__)
    parser.add_argument("--frames", type=int, default=120, help="frames of each run (default: %(default)s)")
    parser.add_argument("--clip", type=Path, help="a video file of your own (default: the demo's)")
    parser.add_argument("--weights", type=Path, help="YOLO weights of your own (default: the demo's)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument(
        "--install", default="edge", help="extras to install, by comma; empty: none (default: %(default)s)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    load = round(os.getloadavg()[0], 1)  # what else kept the machine busy: rates mean little beside a large one
    try:
        with tempfile.TemporaryDirectory(prefix="icm-cost-") as folder:
            figures = asyncio.run(_measure(options, Path(folder)))
            for extra in filter(None, options.install.split(",")):
                figures += install_size(extra, Path(folder) / f"venv-{extra}")
    except IcmError as error:
        print(f"icm-bench cost: {error}", file=sys.stderr)
        return 1
    print_table(COLUMNS, [figure.row() for figure in figures])
    rows = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    print(f"load average of the machine before: {load}")
    results = {"picture": [WIDTH, HEIGHT], "bundle": options.bundle.name, "load_before": load, "figures": rows}
    print(f"written to {write_json('cost', results, options.results)}")
    return 0
