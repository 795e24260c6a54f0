"""``icm-bench soak``: both services at a steady load for hours, with a connection that is cut again and again.

What a process holds, in memory, threads and open files, is sampled all the while. It may grow until every cache is
warm; from then on it must stay. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, astuple, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from tqdm import tqdm

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing import assets
from icm.testing.processes import Ports, Service
from icm.testing.scraping import Metrics
from icm_bench.delivery.fault_proxy import FaultProxy
from icm_bench.report import RESULTS, print_table, write_json

EDGE, CLOUD = "icm-edge", "icm-cloud"
WIDTH, HEIGHT = 320, 240
CLIP_FRAMES, CLIP_FPS = 300, 10
CUT_SECONDS = 60.0
"""Between two cuts of all connections."""
WARM_SHARE = 1 / 3
"""Of the whole time, after which everything is warm."""
LIMIT_MB_PER_HOUR = 10.0
"""Growth, once warm, that counts as none: the cloud keeps a few hundred bytes in memory for each segment."""
_SAMPLES = 240
_PATIENCE = 24
"""Times that a service is asked for its metrics, each for five seconds."""
_ANY_PORT = "127.0.0.1:0"
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """What a process holds at a moment.

    Attributes:
        seconds: since the start.
        rss_mb: resident memory.
        threads: how many of them.
        files: how many of them.
    """

    seconds: float
    rss_mb: float
    threads: int
    files: int

    @staticmethod
    def of(process: int, seconds: float) -> Sample:
        """Takes a sample of a process.

        Args:
            process: its id.
        """
        folder = Path(f"/proc/{process}")
        rss = int((folder / "statm").read_text().split()[1]) * _PAGE / 1e6
        return Sample(seconds, rss, len(list((folder / "task").iterdir())), len(list((folder / "fd").iterdir())))


@dataclass(frozen=True)
class Row:
    """What became of a service's memory.

    Attributes:
        first_mb: resident memory when the service counted as warm.
        last_mb: resident memory at the end.
        peak_mb: the most resident memory there ever was.
        mb_per_hour: slope of the line that fits it best once warm.
        threads: the most there were once warm, less the fewest.
        files: the most there were once warm, less the fewest.
    """

    service: str
    first_mb: float
    last_mb: float
    peak_mb: float
    mb_per_hour: float
    threads: int
    files: int

    @staticmethod
    def of(service: str, samples: Sequence[Sample]) -> Row:
        """Returns the row of a service's samples.

        Args:
            samples: at least three.
        """
        warm = [sample for sample in samples if sample.seconds >= WARM_SHARE * samples[-1].seconds]
        slope, _ = np.polyfit([sample.seconds / 3600 for sample in warm], [sample.rss_mb for sample in warm], 1)
        threads, files = [sample.threads for sample in warm], [sample.files for sample in warm]
        return Row(
            service, warm[0].rss_mb, warm[-1].rss_mb, max(sample.rss_mb for sample in samples), float(slope),
            max(threads) - min(threads), max(files) - min(files),
        )  # fmt: skip


class Soak:
    """The services, and a network between them that is cut once a minute."""

    def __init__(self, options: argparse.Namespace, clip: Path, weights: Path | None, folder: Path) -> None:
        """Prepares a soak test; nothing is started yet.

        Args:
            weights: of the detector; None for none.
        """
        self._options, self._clip, self._weights, self._folder = options, clip, weights, folder

    async def run(self) -> tuple[dict[str, list[Sample]], dict[str, float]]:
        """Samples by service, and how many frames got how far.

        Raises:
            IcmError: a service ended.
        """
        async with AsyncExitStack() as stack:
            cloud = self._start(CLOUD, self._cloud())
            stack.callback(cloud.kill)
            ports = await cloud.listening()
            proxy = FaultProxy(ports.grpc)
            await proxy.start()
            stack.push_async_callback(proxy.stop)
            edge = self._start(EDGE, self._edge(proxy.port))
            stack.callback(edge.kill)
            edge_ports = await edge.listening()
            samples = await self._watch({EDGE: edge, CLOUD: cloud}, proxy)
            return samples, await _frames(edge_ports, ports) | {"cuts": proxy.cuts}

    async def _watch(self, services: dict[str, Service], proxy: FaultProxy) -> dict[str, list[Sample]]:
        seconds = 60 * self._options.minutes
        samples: dict[str, list[Sample]] = {name: [] for name in services}
        start, cut_at = time.monotonic(), CUT_SECONDS
        with tqdm(total=round(seconds), unit="s", desc="soak", leave=False, disable=None) as bar:
            for due in np.linspace(0, seconds, _SAMPLES):
                await asyncio.sleep(start + due - time.monotonic())
                passed = time.monotonic() - start
                bar.update(round(passed) - bar.n)
                if passed >= cut_at:
                    proxy.cut()
                    cut_at += CUT_SECONDS
                for name, service in services.items():
                    service.check()
                    samples[name].append(Sample.of(service.process.pid, passed))
        return samples

    def _start(self, name: str, settings: dict[str, Any]) -> Service:
        return Service(name, settings, self._folder)

    def _cloud(self) -> dict[str, Any]:
        detector = {"kind": "yolo", "weights": str(self._weights.resolve())} if self._weights else {"kind": "none"}
        return {
            "bundle": str(self._options.bundle.resolve()),
            "threads": 1,
            "ingest": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "store": {"folder": str(self._folder / CLOUD)},
            "detector": detector,
        }

    def _edge(self, cloud_port: int) -> dict[str, Any]:
        source = {"kind": "file", "path": str(self._clip), "pace": "real_time", "loop": True}
        return {
            "bundle": str(self._options.bundle.resolve()),
            "threads": 1,
            "cloud": {"address": f"127.0.0.1:{cloud_port}"},
            "frame_api": {"address": _ANY_PORT},
            "metrics": {"address": _ANY_PORT},
            "spool": {"folder": str(self._folder / EDGE)},
            "cameras": [
                {"name": f"camera-{n}", "source": source, "max_fps": self._options.fps}
                for n in range(self._options.cameras)
            ],
        }


async def _frames(edge: Ports, cloud: Ports) -> dict[str, float]:
    at_edge, at_cloud = [await _scrape(ports) for ports in (edge, cloud)]
    return {
        "spooled": at_edge.total("icm_edge_frames_total", outcome="spooled"),
        "persisted": at_cloud.total("icm_cloud_records_total", outcome="persisted"),
        "detected": at_cloud.total("icm_cloud_capture_to_detected_seconds_count"),
    }


async def _scrape(ports: Ports) -> Metrics:
    """Hours of samples are not given up because a busy machine is slow to answer once."""
    for _ in range(_PATIENCE):
        with suppress(OSError):
            return await asyncio.to_thread(Metrics.scrape, ports.metrics)
    raise IcmError(f"a service did not tell its metrics at port {ports.metrics}, though asked {_PATIENCE} times")


def make_clip(source: Path, target: Path) -> None:
    """Writes a clip's first frames, made small, losslessly."""
    with av.open(str(source)) as container, av.open(str(target), "w") as small:
        stream = small.add_stream("ffv1", rate=CLIP_FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, frame in enumerate(itertools.islice(container.decode(video=0), CLIP_FRAMES)):
            picture = frame.reformat(WIDTH, HEIGHT, "yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, CLIP_FPS)
            small.mux(stream.encode(picture))
        small.mux(stream.encode(None))


def plot(samples: dict[str, list[Sample]], path: Path) -> None:
    """Draws the memory of each service over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name, taken in samples.items():
        axes.plot([sample.seconds / 60 for sample in taken], [sample.rss_mb for sample in taken], label=name)
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="how long (default: %(default)s)")
    parser.add_argument("--cameras", type=int, default=2, help="how many (default: %(default)s)")
    parser.add_argument("--fps", type=float, default=2.0, help="frames a second and camera (default: %(default)s)")
    parser.add_argument("--no-detector", action="store_true", help="decode and archive only")
    parser.add_argument("--clip", type=Path, help="a video file of your own (default: the demo's)")
    parser.add_argument("--weights", type=Path, help="YOLO weights of your own (default: the demo's)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    weights = None if options.no_detector else options.weights or assets.fetch(assets.WEIGHTS, assets.CACHE, print)
    with tempfile.TemporaryDirectory(prefix="icm-soak-") as folder:
        clip = Path(folder) / "clip.mkv"
        make_clip(options.clip or assets.fetch_clip(assets.CACHE, print), clip)
        try:
            samples, frames = asyncio.run(Soak(options, clip, weights, Path(folder)).run())
        except IcmError as error:
            print(f"icm-bench soak: {error}", file=sys.stderr)
            return 1
    rows = [Row.of(name, taken) for name, taken in samples.items()]
    print_table([field.name for field in fields(Row)], [astuple(row) for row in rows])
    figures = {
        "minutes": options.minutes, "cameras": options.cameras, "fps": options.fps,
        "picture": [WIDTH, HEIGHT], "bundle": options.bundle.name, "detector": weights is not None, **frames,
        "limit_mb_per_hour": LIMIT_MB_PER_HOUR,
        "rows": [asdict(row) for row in rows],
        **{f"{name} samples": [astuple(sample) for sample in taken] for name, taken in samples.items()},
    }  # fmt: skip
    print(f"written to {write_json('soak', figures, options.results)}")
    plot(samples, options.results / "soak.png")
    bounded = all(row.mb_per_hour <= LIMIT_MB_PER_HOUR for row in rows)
    print("memory is bounded" if bounded else "MEMORY GROWS")
    return 0 if bounded else 1
