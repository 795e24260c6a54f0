"""How fast evidence files are exported and checked, and how sure the comparison of clips with records is.

Speed: a real edge sends a clip to a real cloud, which exports all of it; then it is checked. Beside that stands
``sha256sum`` of the same file, which is the least that any check of it costs. A large case of many small pictures is
checked beside a tenth of it, and beside decoding its records alone: its check must not take more memory for more.

Margins: clips are coded at several qualities and rendered as the archive does. ``honest`` is the worst that a frame of
such a video differs from its record's picture, as a share of what it may; ``one later`` and ``ten later`` are how much
at most a frame differs where the video shows the frame after, or the tenth after. A check tells them apart as long as
the first is below 1 and the others are above.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cloud_service.archive.video import VideoEncoder
from icm.client.cloud import CloudClient
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm.errors import IcmError
from icm.evidence.checks.pictures import Planes, distance, planes_of, planes_of_picture
from icm.evidence.checks.verification import verify_case
from icm.testing.assets import CACHE, PEDESTRIANS, fetch
from icm.testing.processes import Service
from icm_bench.archive.large_case import large_case
from icm_bench.report import RESULTS, print_rows, write_json

_ANY_PORT = "127.0.0.1:0"
_FPS = 10
_QUALITIES = (0, 4, 7)
_MARGIN_FRAMES = 25
_ARCHIVED_SECONDS = 120


def _frames(clip: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(clip), "r") as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _cut(clip: Path, target: Path, count: int) -> None:
    """Writes a clip's first frames, without loss."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("ffv1", rate=_FPS)
        for number, picture in enumerate(islice(_frames(clip), count)):
            if not number:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "bgr0"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


async def _archived(folder: Path, clip: Path, frames: int, output: Path) -> dict[str, Any]:
    """Sends a clip through real services and exports it; how long the export took."""
    common = {"bundle": str(DEFAULT_BUNDLE.resolve()), "threads": 1, "metrics": {"address": _ANY_PORT}}
    cloud = Service(
        "icm-cloud",
        common
        | {
            "ingest": {"address": _ANY_PORT},
            "store": {"folder": str(folder / "cloud")},
            "detector": {"kind": "none"},
            "archive": {"segment_seconds": 5},
        },
        folder,
    )
    edge: Service | None = None
    try:
        address = f"127.0.0.1:{(await cloud.listening()).grpc}"
        edge = Service(
            "icm-edge",
            common
            | {
                "cloud": {"address": address},
                "frame_api": {"address": _ANY_PORT},
                "spool": {"folder": str(folder / "edge")},
                "cameras": [{"name": "gate", "source": {"kind": "file", "path": str(clip)}}],
            },
            folder,
        )
        if await edge.ended(60 + 3 * frames / _FPS) != 0:
            raise IcmError(f"the edge did not deliver the clip. {edge.tail()}")
        return await asyncio.to_thread(_export, address, frames, output)
    finally:
        for service in (edge, cloud):
            if service is not None:
                service.kill()


def _export(address: str, frames: int, output: Path) -> dict[str, Any]:
    with CloudClient(address) as client:
        end = time.monotonic() + _ARCHIVED_SECONDS + frames / _FPS
        while sum(segment.frames for segment in client.segments("gate")) < frames:
            if time.monotonic() > end:
                raise IcmError(f"the archive lacks videos of the clip after {_ARCHIVED_SECONDS} s")
            time.sleep(1)
        (camera,) = client.cameras()
        # The last segment is closed by the time that its records are old enough, and looked for every half second.
        time.sleep(6)
        started = time.perf_counter()
        size = client.export(
            output, "gate", camera.first, camera.last + timedelta(seconds=1), case="A benchmark", by="icm-bench"
        )
        return {"bytes": size, "export_seconds": time.perf_counter() - started}


def _speed(folder: Path, clip: Path, frames: int) -> dict[str, Any]:
    output = folder / "case.zip"
    _cut(clip, folder / "clip.mkv", frames)
    row = asyncio.run(_archived(folder, folder / "clip.mkv", frames, output))
    bundle = Bundle.load(DEFAULT_BUNDLE, threads=1)
    started = time.perf_counter()
    findings = verify_case(output, key=None, bundles=lambda: [bundle])
    row["verify_seconds"] = time.perf_counter() - started
    if findings.count_wrong:
        raise IcmError(f"the benchmark's own export does not hold: {findings.first_wrong}")
    started = time.perf_counter()
    subprocess.run(["sha256sum", str(output)], check=True, capture_output=True)
    row["sha256sum_seconds"] = time.perf_counter() - started
    row["frames"] = frames
    row["export_mb_per_second"] = row["bytes"] / 1e6 / row["export_seconds"]
    row["verify_frames_per_second"] = frames / row["verify_seconds"]
    return row


def _scenes(clip: Path) -> dict[str, list[NDArray[np.uint8]]]:
    noise = np.random.default_rng(2)
    day = list(islice(_frames(clip), _MARGIN_FRAMES))

    def noisy(share: float, offset: float, sigma: float) -> list[NDArray[np.uint8]]:
        return [
            np.clip(picture * share + offset + noise.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8)
            for picture in day
        ]

    size = (_MARGIN_FRAMES, 240, 320, 3)
    return {
        "still camera": day,
        "at night": noisy(0.12, 8, 2),
        "with noise of sigma 12": noisy(1, 0, 12),
        "nothing but noise": list(noise.integers(0, 256, size, dtype=np.uint8)),
    }


def _margin(bundle: Bundle, pictures: Sequence[NDArray[np.uint8]], quality: float) -> dict[str, float]:
    encoder, decoder = Encoder(bundle), Decoder(bundle)
    height, width = pictures[0].shape[:2]
    video, meant = VideoEncoder(width, height), list[Planes]()
    for number, picture in enumerate(pictures):
        record = encoder.encode(picture, quality).record(number + 1, number * 1_000_000 // _FPS)
        decoded = decoder.decode(record, width, height)
        meant.append(planes_of_picture(decoded))
        video.add(decoded, record.capture_us)
    with av.open(io.BytesIO(video.finish().mp4), "r") as container:
        shown = [planes_of(frame) for frame in container.decode(video=0)]

    def worst(later: int) -> float:
        found = [
            distance(shown[place + later], meant[place], meant[place - 1] if place else None)
            for place in range(len(meant) - later)
        ]
        return max(max(one.share, one.earlier) for one in found)

    return {"honest": worst(0), "one later": worst(1), "ten later": worst(10)}


def run(arguments: Sequence[str]) -> int:
    """Runs the benchmark; returns its exit status."""
    parser = argparse.ArgumentParser(prog="icm-bench evidence", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--frames", type=int, default=200, help="of the clip that is exported; default 200")
    parser.add_argument("--records", type=int, default=10_000, help="of the large case; default 10000")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the figures; default %(default)s")
    options = parser.parse_args(arguments)
    clip = fetch(PEDESTRIANS, CACHE, print)
    bundle = Bundle.load(DEFAULT_BUNDLE, threads=1)
    margins = [
        {"scene": scene, "quality": quality, **_margin(bundle, pictures, quality)}
        for scene, pictures in _scenes(clip).items()
        for quality in _QUALITIES
    ]
    print_rows(margins)
    with tempfile.TemporaryDirectory() as folder:
        speed = _speed(Path(folder), clip, options.frames)
        sizes = (options.records // 10, options.records)
        large = [large_case(Path(folder) / f"case-{records}", _export, records) for records in sizes]
    print_rows([speed])
    print_rows(large)
    write_json("evidence", {"margins": margins, "speed": speed, "large": large}, options.out)
    return 0
