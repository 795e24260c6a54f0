"""``icm-bench rate-control``: how near a camera comes to its target bitrate, and how soon after its link halves.

A real edge plays a clip over and over to a real cloud through a proxy that carries a fifth more than the target, and
halfway only half of that. Both services are asked for their metrics all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing import assets
from icm.testing.processes import Service
from icm.testing.scraping import Metrics
from icm_bench.delivery.fault_proxy import FaultProxy
from icm_bench.report import RESULTS, print_table, write_json

HEADROOM = 1.2
"""What the link carries before it halves, of the target."""
NEAR = 0.1
"""As near to its target as a camera must come."""
_SAMPLE_SECONDS = 0.25
_WINDOW_SECONDS = 30.0
_SHORT_SECONDS = 5.0
"""Over less than that a bitrate says little: records come one by one."""
_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Sample:
    """A moment, in seconds since the start.

    Attributes:
        link: bits a second that the proxy carries.
        target: bits a second that the edge grants the camera.
        coded: bits of all records so far.
        waiting: bits in the spool.
    """

    seconds: float
    link: float
    target: float
    coded: float
    waiting: float
    quality: float
    frame_rate: float
    scale: float


@dataclass(frozen=True)
class Figures:
    """What came of it.

    Attributes:
        before: coded bits over the last 30 s before the link halved, of the target.
        granted_seconds: from the halving until the camera was granted less than the link carries, for good.
        settled_seconds: from the halving until what is coded in 5 s fits the link, for good; None if it never did.
        late_peak: coded bits over the worst 5 s that began 5 s after the halving or later, of what the link carries
            then. A single costly record, as after a change of quality, makes a peak without keeping the link full.
        after: coded bits over the last 30 s, of what the halved link carries.
        most_waiting_seconds: what waited in the spool at most after the halving, by the time the link needs for it.
    """

    before: float
    granted_seconds: float | None
    settled_seconds: float | None
    late_peak: float
    after: float
    most_waiting_seconds: float


async def measure(target: float, seconds: float, clip: Path, bundle: Path, folder: Path) -> list[Sample]:
    """Measures rate control on a link that halves.

    Args:
        target: in bits a second.
        seconds: how long before the link halves, and as long after.
    """
    cloud = Service("icm-cloud", _cloud(bundle, folder), folder)
    edge: Service | None = None
    try:
        proxy = FaultProxy((await cloud.listening()).grpc)
        proxy.bytes_per_second = HEADROOM * target / 8
        await proxy.start()
        edge = Service("icm-edge", _edge(bundle, folder, proxy.port, clip, target), folder)
        port, samples = (await edge.listening()).metrics, list[Sample]()
        start = time.monotonic()
        with tqdm(total=round(2 * seconds), unit="s", desc="rate control", leave=False, disable=None) as bar:
            while (passed := time.monotonic() - start) < 2 * seconds:
                if passed >= seconds:
                    proxy.bytes_per_second = HEADROOM * target / 16
                samples.append(
                    _sample(passed, 8 * proxy.bytes_per_second, await asyncio.to_thread(Metrics.scrape, port))
                )
                bar.update(int(passed) - bar.n)
                edge.check()
                await asyncio.sleep(_SAMPLE_SECONDS)
        await proxy.stop()
        return samples
    finally:
        for service in (edge, cloud):
            if service is not None:
                service.kill()


def figures(samples: Sequence[Sample], target: float) -> Figures:
    """What the samples of a run say."""
    halved = next(sample for sample in samples if sample.link < samples[0].link)
    after = [sample for sample in samples if sample.seconds >= halved.seconds]
    beyond = [sample.seconds for sample in after if sample.target > sample.link]
    ends = [sample.seconds for sample in after if sample.seconds >= halved.seconds + _SHORT_SECONDS]
    taken = {end: _bits_per_second(samples, end, _SHORT_SECONDS) / halved.link for end in ends}
    late = [end for end, share in taken.items() if share > 1 + NEAR]
    return Figures(
        before=_bits_per_second(samples, halved.seconds, _WINDOW_SECONDS) / target,
        granted_seconds=_since(halved.seconds, beyond, after),
        # A window that fits covers the time before its end.
        settled_seconds=_since(halved.seconds + _SHORT_SECONDS, late, after),
        late_peak=max(share for end, share in taken.items() if end >= halved.seconds + 2 * _SHORT_SECONDS),
        after=_bits_per_second(samples, samples[-1].seconds, _WINDOW_SECONDS) / halved.link,
        most_waiting_seconds=max(sample.waiting for sample in after) / halved.link,
    )


def _since(start: float, bad: Sequence[float], after: Sequence[Sample]) -> float | None:
    """Seconds from ``start`` to the last bad moment; None if that is the end."""
    if bad and bad[-1] >= after[-1].seconds - _SAMPLE_SECONDS:
        return None
    return max(0.0, bad[-1] - start) if bad else 0.0


def _bits_per_second(samples: Sequence[Sample], end: float, seconds: float) -> float:
    inside = [sample for sample in samples if end - seconds <= sample.seconds <= end]
    return (inside[-1].coded - inside[0].coded) / (inside[-1].seconds - inside[0].seconds)


def _sample(seconds: float, link: float, metrics: Metrics) -> Sample:
    return Sample(
        seconds,
        link,
        metrics.total("icm_edge_target_bits_per_second"),
        8 * metrics.total("icm_edge_encoded_bytes_total"),
        8 * metrics.total("icm_edge_spool_bytes"),
        metrics.total("icm_edge_quality_level"),
        metrics.total("icm_edge_frame_rate"),
        metrics.total("icm_edge_scale"),
    )


def _cloud(bundle: Path, folder: Path) -> dict[str, Any]:
    return {
        "bundle": str(bundle.resolve()),
        "threads": 1,
        "ingest": {"address": _ANY_PORT},
        "metrics": {"address": _ANY_PORT},
        "store": {"folder": str(folder / "cloud")},
        "detector": {"kind": "none"},
    }


def _edge(bundle: Path, folder: Path, port: int, clip: Path, target: float) -> dict[str, Any]:
    camera = {
        "name": "gate",
        "rate": {"target_kbit_per_second": target / 1000},
        "source": {"kind": "file", "path": str(clip.resolve()), "loop": True},
    }
    return {
        "bundle": str(bundle.resolve()),
        "threads": 1,
        "cloud": {"address": f"127.0.0.1:{port}"},
        "frame_api": {"address": _ANY_PORT},
        "metrics": {"address": _ANY_PORT},
        "spool": {"folder": str(folder / "edge")},
        "cameras": [camera],
    }


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench rate-control", description=__doc__)
    parser.add_argument("--kbit-per-second", type=float, default=60.0, help="the target (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="before the link halves, and after it (default: %(default)s)"
    )
    parser.add_argument("--clip", type=Path, help="a video file of your own (default: the demo's)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    target = 1000 * options.kbit_per_second
    clip = options.clip or assets.fetch_clip(assets.CACHE, print)
    with tempfile.TemporaryDirectory(prefix="icm-rate-") as folder:
        try:
            samples = asyncio.run(measure(target, options.seconds, clip, options.bundle, Path(folder)))
        except IcmError as error:
            print(f"icm-bench rate-control: {error}", file=sys.stderr)
            return 1
    found = asdict(figures(samples, target))
    print_table(("figure", "value"), list(found.items()))
    results = {"target": target, **found, "samples": [asdict(sample) for sample in samples[::4]]}
    print(f"written to {write_json('rate_control', results, options.results)}")
    return 0
