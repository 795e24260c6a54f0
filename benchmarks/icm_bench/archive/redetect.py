"""``icm-bench redetect``: how fast the past of a clip is looked at again, by which frames are.

The clip is coded as an edge does it and stored as the cloud does; jobs then go through the service's own worker and its
process of the lowest priority, with nothing live beside them. What loading the weights takes is told apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cloud_service.bundles import Bundles
from cloud_service.database.opening import open_database
from cloud_service.feedback.leases import Leases
from cloud_service.feedback.segment_leases import SegmentLeases
from cloud_service.redetection.jobs import Order, RedetectionJobs, State
from cloud_service.redetection.weights import Weights
from cloud_service.redetection.worker import Redetection
from cloud_service.settings import CloudSettings
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.encoder import Encoder
from icm.config.settings import load_settings
from icm.errors import DetectorError
from icm.media.video_files import open_video
from icm.service.clock import SystemClock
from icm.service.health import Problems
from icm_bench.report import RESULTS, print_rows, write_json

_CAMERA = "clip"
_START_US = 1_790_000_000_000_000
_ALWAYS = (0, (1 << 63) - 1)
_POLL_SECONDS = 0.05


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as place:
        flags = {"bundle": str(options.bundle), "store.folder": place, "threads": options.threads}
        settings = load_settings(CloudSettings, None, flags)
        bundles = Bundles.load(settings.bundle_folders, options.threads, "cpu")
        database = open_database(settings.database_url)
        store = RecordStore(
            settings.records_folder, SegmentIndex(database), settings.archive.segment_seconds, SystemClock()
        )
        seconds = _fill(store, bundles, options)
        store.close()
        jobs = RedetectionJobs(database)
        rows: list[dict[str, Any]] = []
        for name, every, changed in (
            ("every frame", 1, False),
            ("what changed", 1, True),
            (f"every {options.every}th", options.every, False),
        ):
            order = Order((_CAMERA,), *_ALWAYS, Weights.of(options.detector), every, changed)
            rows.append({"frames": name} | _measured(jobs, order, store, bundles, settings, seconds))
            print_rows(rows)
            print()
        database.dispose()
    figures = {"bundle": bundles.first.name, "detector": options.detector.stem, "clip": options.clip.stem}
    figures |= {"quality": options.quality, "rows": rows}
    print(f"written to {write_json('redetect', figures, options.results)}")
    return 0


def _fill(store: RecordStore, bundles: Bundles, options: argparse.Namespace) -> float:
    """Stores the clip; returns how many seconds it lasts."""
    encoder, header, end_us = Encoder(bundles.first), None, 0
    with open_video(options.clip, print, print) as (_, video):
        for sequence, (time_us, image) in enumerate(tqdm(video, total=options.frames, disable=None), 1):
            if sequence > options.frames:
                break
            height, width = image.shape[:2]
            header = header or StreamHeader(bundles.first.codec_id, _CAMERA, 1, _START_US, width, height)
            record = encoder.encode(image, options.quality).record(sequence, _START_US + time_us)
            store.append(header, [RawRecord(record, record.pack(header))])
            end_us = time_us
    return end_us / 1e6


def _measured(
    jobs: RedetectionJobs,
    order: Order,
    store: RecordStore,
    bundles: Bundles,
    settings: CloudSettings,
    clip_seconds: float,
) -> dict[str, Any]:
    """One job's figures."""
    number, planned = jobs.add(order, 0)
    loaded: list[float] = []

    def is_idle() -> bool:
        loaded.append(time.perf_counter())
        return True

    worker = Redetection(
        jobs=jobs,
        store=store,
        bundles=bundles,
        settings=settings,
        leases=SegmentLeases(Leases(SystemClock()), store),
        is_idle=is_idle,
        problems=Problems(),
    )
    begun = time.perf_counter()
    worker.start()
    while jobs.next() is not None:
        time.sleep(_POLL_SECONDS)
    ended = time.perf_counter()
    worker.stop()
    job, counts = next(found for found in jobs.overview() if found[0].id == number)
    if job.state != State.DONE:
        raise DetectorError(job.problem)
    took = ended - loaded[0]
    return {
        "stored": planned.frames,
        "with_results": counts.frames,
        "looked_at": counts.looked_at,
        "loading_s": round(loaded[0] - begun, 1),
        "seconds": round(took, 2),
        "stored_frames_per_second": round(planned.frames / took, 1),
        "times_real_time": round(clip_seconds / took, 2),
    }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench redetect", description=__doc__)
    parser.add_argument("clip", type=Path, help="a video of a still camera")
    parser.add_argument("--detector", type=Path, default=Path(".cache/weights/yolo26n.pt"), help="a YOLO .pt file")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--quality", type=float, default=3.0)
    parser.add_argument("--frames", type=int, default=1000, help="of the clip, at most (default: %(default)s)")
    parser.add_argument("--every", type=int, default=10, help="frames of the last job (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
