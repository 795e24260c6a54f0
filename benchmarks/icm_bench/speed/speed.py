"""``icm-bench speed``: what coding a frame costs on this machine, part by part, beside what it must cost.

One table has the parts, for frames coded alone (I) and after the last one (P), beside JPEG of the same frame; one the
networks, beside the time that their multiplications take at the machine's measured peak; one what computing only
changes saves on the clip; one what P records cost by how much moves.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from icm.codec.bitstream.record import Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder, quality_units
from icm.codec.motion.prediction import LinearPicture
from icm.codec.transforms.incremental import IncrementalAnalysis, whole_blocks
from icm.media.video_files import open_video
from icm.testing import assets
from icm_bench.exactness.exactness import coded_after
from icm_bench.report import RESULTS, print_rows, write_json
from icm_bench.speed.incremental import tile_rows
from icm_bench.speed.load import Load, store_only
from icm_bench.speed.motion_speed import motion_rows
from icm_bench.speed.network_cost import multiplications, peak
from icm_bench.timer import Timer, percentiles

SIZES = ((640, 384), (1280, 720))
_NETWORK_SECONDS, _NETWORK_RATE = 4.0, 20.0
"""How long records are sent to a cloud on this machine, and how many a second."""


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench speed", description=__doc__)
    parser.add_argument("--clip", type=Path, help="any video of a camera; default: the demo's, fetched")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--quality", type=float, default=3.0)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    bundles = [
        Bundle.load(options.bundle, options.threads, device)
        for device in ("cpu", "cuda")
        if device == "cpu" or "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    ]
    capture, clip = Timer(), []
    with open_video(options.clip or assets.fetch_clip(assets.CACHE, print), print, print) as (_, video):
        for _ in range(options.frames):
            with capture("capture"):
                clip.append(next(video)[1])
    size = f"{clip[0].shape[1]}x{clip[0].shape[0]}"
    parts: list[dict[str, Any]] = [
        {"device": "cpu", "size": size, "part": "capture"} | percentiles(capture.spans["capture"])
    ]
    networks: list[dict[str, Any]] = []
    of_encode, of_frame = dict[str, float](), dict[str, float]()
    capturing = float(np.median(capture.spans["capture"]))
    for device, bundle in zip(("cpu", "cuda"), bundles, strict=False):
        fastest = peak(options.threads, device)
        for width, height in SIZES:
            place = {"device": device, "size": f"{width}x{height}"}
            frames = [np.asarray(Image.fromarray(image).resize((width, height))) for image in clip]
            timer, coded = _profile(bundle, frames, options.quality)
            parts += [place | {"part": part} | percentiles(spans) for part, spans in timer.spans.items()]
            networks += [place | row for row in _networks(bundle, frames[0], options.quality, timer, fastest)]
            for kind in "IP":
                entropy, whole = (
                    float(np.median(timer.spans[f"{part} encode {kind}"])) for part in ("entropy", "whole")
                )
                case = f"{device} {width}x{height} {kind}"
                of_encode[case] = round(entropy / whole, 3)
                of_frame[case] = round(entropy / (capturing + whole), 3)
            if device == "cpu":
                parts.append(place | {"part": "network, until persisted"} | _sent(options.bundle, bundle, coded))
    tiles = tile_rows(bundles[0], clip, options.quality)
    moving = motion_rows(bundles[0], clip[0], options.quality)
    figures = {"bundle": bundles[0].name, "quality": options.quality, "frames": len(clip)}
    figures |= {"entropy_share_of_encode": of_encode, "entropy_share_of_frame": of_frame}
    figures |= {"parts": parts, "networks": networks, "tiles": tiles, "motion": moving}
    for rows in (parts, networks, tiles, moving):
        print_rows(rows)
        print()
    print(f"written to {write_json('speed', figures, options.results)}")
    return 0


def _profile(bundle: Bundle, frames: list[NDArray[np.uint8]], quality: float) -> tuple[Timer, list[CodedFrame]]:
    """Milliseconds of each part, after two frames to warm up, and the P frames."""
    units = quality_units(bundle, quality)
    shares = bundle.level_shares(units)
    chained, decoder_alone, decoder = Encoder(bundle), Decoder(bundle), Decoder(bundle)
    changes = IncrementalAnalysis(bundle.analysis, bundle.sparse_analysis)
    height, width = frames[0].shape[:2]
    pictures = LinearPicture(bundle.motion.path) if bundle.motion else None
    last, timer, coded = chained.encode(frames[0], quality), Timer(), []
    decoder.picture(decoder.latents(last.record(1, 0), width, height))
    for number, image in enumerate(tqdm(frames[1:], desc=f"{width}x{height}", unit="frame", disable=None), start=2):
        if number == 4:
            timer = Timer()
        with timer("JPEG"):
            Image.fromarray(image).save(io.BytesIO(), "JPEG", quality=35)
        with timer("analysis"):
            scaled = bundle.analysis.scaled(image, bundle.gains(units), shares)
        with timer("hyper-analysis"):
            bundle.hyper_analysis.hyper(np.rint(scaled).astype(np.int16))
        fresh = Encoder(bundle)
        with timer("whole encode I"):
            frame = fresh.encode(image, quality)
        with timer("hyper-synthesis"):
            bundle.entropy.network(frame.latents.hyper[None], bundle.entropy.level(units))
        with timer("entropy encode I"):
            bundle.entropy.encode_approximate(frame.latents)
        with timer("entropy decode I"):
            decoder_alone.latents(frame.record(number, 0), width, height)
        with timer("synthesis"):
            bundle.synthesis.pictures(frame.latents.values[None], bundle.inverse_gains(units)[None], shares[None])
        with timer("analysis of changes"):
            changes.latents(image, shares)
        with timer("whole encode P"):
            after = chained.encode(image, quality)
        record = after.record(number, 0)
        with timer("entropy decode P"):
            latents = decoder.latents(record, width, height)
        with timer("synthesis of changes"):
            decoder.picture(latents)
        if after.kind is Kind.P:
            with timer("entropy encode P"):
                coded_after(bundle, last.latents, after.latents, pictures)
            coded.append(after)
        last = after
    return timer, coded


def _networks(
    bundle: Bundle, image: NDArray[np.uint8], quality: float, timer: Timer, fastest: float
) -> list[dict[str, Any]]:
    """Multiplications of each network on a picture, and its time beside what they take at the measured peak."""
    units = quality_units(bundle, quality)
    frame = Encoder(bundle).encode(image, quality).latents
    values, gains = frame.values[None].astype(np.float32), bundle.gains(units)[None, :, None, None]
    inverse_gains, shares = bundle.inverse_gains(units)[None, :, None, None], bundle.level_shares(units)[None]
    pixels: list[NDArray[Any]] = [whole_blocks(image)[None], gains, shares]
    inputs: dict[str, tuple[str, list[NDArray[Any]]]] = {
        "encoder.onnx": ("analysis", pixels[: bundle.analysis.takes]),
        "hyper_encoder.onnx": ("hyper-analysis", [values]),
        "hyper_decoder.onnx": ("hyper-synthesis", [frame.hyper[None].astype(np.float32), np.array([0])]),
        "decoder.onnx": ("synthesis", [values, inverse_gains, shares][: bundle.synthesis.takes]),
    }
    rows = []
    for name, (part, given) in inputs.items():
        count = multiplications(bundle.folder / name, given)
        ideal, measured = 1000 * count / fastest, float(np.median(timer.spans[part]))
        rows.append(
            {
                "network": name,
                "gmac": round(count / 1e9, 3),
                "kmac_per_pixel": round(count / image.shape[0] / image.shape[1] / 1000, 2),
                "peak_gmac_per_second": round(fastest / 1e9, 1),
                "at_peak_ms": round(ideal, 2),
                "measured_ms": round(measured, 2),
                "ratio": round(measured / ideal, 2),
            }
        )
    return rows


def _sent(folder: Path, bundle: Bundle, frames: list[CodedFrame]) -> dict[str, float]:
    """Milliseconds from when a record was due until a cloud on this machine said it was persisted."""
    with tempfile.TemporaryDirectory() as place, store_only(folder, Path(place)) as (port, process):
        load = Load(bundle, frames, _NETWORK_RATE, _NETWORK_SECONDS)
        row = asyncio.run(load.measure(1, port, process))
    return {"p50_ms": round(row.p50_ms, 2), "p95_ms": round(row.p95_ms, 2)}
