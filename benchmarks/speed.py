"""``icm-bench speed``: what coding a frame costs on this machine, part by part, beside JPEG of the same frame."""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.report import RESULTS, print_table, write_json
from shared.codec.bundle import DEFAULT_BUNDLE, Bundle
from shared.codec.codec import Decoder, Encoder, quality_units
from shared.codec.media import open_video

SIZES = ((640, 384), (1280, 720))
PARTS = (
    "analysis",
    "hyper-analysis",
    "entropy encode",
    "entropy decode",
    "synthesis",
    "whole encode",
    "whole decode",
    "JPEG",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench speed", description=__doc__)
    parser.add_argument(
        "--clip", type=Path, default=Path(".cache/clip/vtest.avi"), help="any video; frames are resized"
    )
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--quality", type=float, default=3.0)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    bundle = Bundle.load(options.bundle, options.threads, options.device)
    rows = []
    for width, height in SIZES:
        frames = _frames(options.clip, width, height, options.frames)
        spans = _profile(bundle, frames, options.quality)
        for part in PARTS:
            p50, p95 = np.percentile(spans[part], [50, 95])
            rows.append({"size": f"{width}x{height}", "part": part, "p50_ms": round(p50, 2), "p95_ms": round(p95, 2)})
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    figures = {"bundle": bundle.name, "quality": options.quality, "device": options.device, "rows": rows}
    print(f"written to {write_json('speed', figures, options.results)}")
    return 0


def _frames(clip: Path, width: int, height: int, count: int) -> list[NDArray[np.uint8]]:
    with open_video(clip) as (_, frames):
        resized = (np.asarray(Image.fromarray(image).resize((width, height))) for _, image in frames)
        return [image for image, _ in zip(resized, range(count), strict=False)]


def _profile(bundle: Bundle, frames: list[NDArray[np.uint8]], quality: float) -> dict[str, list[float]]:
    """Milliseconds of each part, one value a frame, after one frame to warm up."""
    encoder, decoder = Encoder(bundle), Decoder(bundle)
    units = quality_units(bundle, quality)
    spans: dict[str, list[float]] = {part: [] for part in PARTS}
    for number, image in enumerate(tqdm([frames[0], *frames], desc="frames", unit="frame", disable=None)):
        height, width = image.shape[:2]
        timer = _Timer()
        with timer("analysis"):
            values = bundle.analysis.latents(image, bundle.gains(units))
        with timer("hyper-analysis"):
            bundle.hyper_analysis.hyper(values)
        with timer("whole encode"):
            record = encoder.encode(image, quality).record(1, 0)
        with timer("entropy decode"):
            latents = decoder.latents(record, width, height)
        with timer("entropy encode"):
            bundle.entropy.encode_snapped(latents)
        with timer("synthesis"):
            decoder.picture(latents)
        with timer("whole decode"):
            decoder.decode(record, width, height)
        with timer("JPEG"):
            Image.fromarray(image).save(io.BytesIO(), "JPEG", quality=35)
        if number:
            for part, span in timer.spans.items():
                spans[part].append(1000 * span)
    return spans


class _Timer:
    """Named spans in seconds."""

    def __init__(self) -> None:
        self.spans: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.spans[name] = time.perf_counter() - started
