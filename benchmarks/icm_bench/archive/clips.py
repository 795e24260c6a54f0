"""``icm-bench clips``: how fast clips are cut and rendered, and what key frames cost the archive's videos.

A camera's frames are coded, stored and rendered into the archive as icm-cloud does it, all in one process. Then one
clip of them all is made: cut out of the archive's videos, and rendered from records. What a cut would cost without
fragments, decoding the videos and coding them again, is measured beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.fragments import TICKS
from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.video import KEY_TICKS, VideoEncoder
from cloud_service.archive.writer import ArchiveWriter
from cloud_service.bundles import Bundles
from cloud_service.clips.cache import RenderCache
from cloud_service.clips.making import ClipMaker
from cloud_service.clips.request import ClipDecoder, ClipRequest
from cloud_service.clips.sources import SourceFinder
from cloud_service.database.opening import open_database
from cloud_service.events.store import EventStore
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm.errors import ConfigError
from icm.media.video_files import open_video
from icm.service.clock import SystemClock
from icm.testing import assets
from icm_bench.report import RESULTS, print_rows, write_json

Picture = NDArray[np.uint8]
_START_US = 1_790_000_000_000_000
_SEGMENT_SECONDS = 10
_CAMERA = "camera"
_KEY_SECONDS = (5, 2, 1)


class Archive:
    """A store and an archive of one camera's frames, and what makes clips of them."""

    def __init__(self, folder: Path, bundle: Bundle, records: Sequence[Record], header: StreamHeader) -> None:
        self._folder, self._bundle = folder, bundle
        self._database = open_database(f"sqlite:///{folder / 'cloud.db'}")
        self._store = RecordStore(folder / "records", SegmentIndex(self._database), _SEGMENT_SECONDS, SystemClock())
        self._store.append(header, [RawRecord(record, record.pack(header)) for record in records])
        self._store.close()
        self._storage = ArchiveStorage(str(folder / "archive"))
        self._catalogue = VideoCatalogue(self._database)
        self._finder = SourceFinder(self._store, self._catalogue, self._storage, self._database)
        self._cache = RenderCache(folder / "rendered", 1 << 40)
        self._maker = ClipMaker(
            store=self._store,
            sources=self._finder,
            bundles=Bundles([bundle]),
            events=EventStore(self._database),
            cache=self._cache,
        )

    def render_videos(self, records: Sequence[Record], header: StreamHeader) -> Iterator[Picture]:
        """Puts the videos of all segments into the archive; gives the pictures on the way."""
        decoder, renderer = Decoder(self._bundle), SegmentRenderer(320)
        writer = ArchiveWriter(self._storage)
        waiting = iter(records)
        for segment in self._store.captured_between(_CAMERA, 0, 1 << 60):
            for record in islice(waiting, segment.records):
                picture = decoder.decode(record, header.width, header.height)
                renderer.add(_CAMERA, segment.number, picture, record.capture_us)
                yield picture
            video = renderer.finish(_CAMERA)
            assert video is not None
            self._catalogue.add_whole(_CAMERA, segment.number, writer.write(video))

    def clip(self, request: ClipRequest, *, videos: bool, cached: bool = False) -> float:
        """Makes a clip; returns the seconds that took."""
        if not cached:
            self._cache.shrink(0)
        started = time.perf_counter()
        sources = self._finder.find(request, videos=videos)
        self._maker.make(request, sources, self._target, progress=lambda _: None, check_wanted=lambda: None)
        return time.perf_counter() - started

    def transcoded(self) -> float:
        """Decodes all videos and codes them again as one; returns the seconds that took."""
        started = time.perf_counter()
        encoder: VideoEncoder | None = None
        for video in self._catalogue.list(_CAMERA, None, None):
            with av.open(str(self._folder / "archive" / video.path)) as container:
                for frame in container.decode(video=0):
                    encoder = encoder or VideoEncoder(frame.width, frame.height)
                    encoder.add(
                        np.asarray(frame.to_ndarray(format="rgb24"), np.uint8),
                        video.start_us + round((frame.time or 0.0) * 1e6),
                    )
        assert encoder is not None
        self._target.write_bytes(encoder.finish().mp4)
        return time.perf_counter() - started

    def close(self) -> None:
        self._database.dispose()

    @property
    def _target(self) -> Path:
        return self._folder / "clip.mp4"


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    frames, interval_us = _frames(options)
    bundle = Bundle.load(options.bundle, options.threads)
    height, width = frames[0].shape[:2]
    header = StreamHeader(bundle.codec_id, _CAMERA, 1, _START_US, width, height)
    encoder = Encoder(bundle)
    records = [
        encoder.encode(frame, options.quality).record(number, _START_US + (number - 1) * interval_us)
        for number, frame in enumerate(frames, 1)
    ]
    seconds = len(frames) * interval_us / 1e6
    with tempfile.TemporaryDirectory(prefix="icm-clips-") as folder:
        archive = Archive(Path(folder), bundle, records, header)
        shown = list(archive.render_videos(records, header))
        rows = _speeds(archive, seconds, options.rounds)
        archive.close()
    keys = [
        row
        for kind, pictures in (("source", frames), ("decoded", shown))
        for row in _key_prices(kind, pictures, interval_us)
    ]
    print_rows(rows)
    print_rows(keys)
    figures = {"frames": len(frames), "size": f"{width}x{height}", "seconds": seconds, "quality": options.quality}
    print(f"written to {write_json('clips', {**figures, 'clips': rows, 'key_frames': keys}, options.results)}")
    return 0


def _speeds(archive: Archive, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """One row for each way to make a clip, the best of some rounds."""
    whole = (_CAMERA, _START_US, _START_US + round(seconds * 1e6))
    ways: dict[str, Callable[[], float]] = {
        "transcoded": archive.transcoded,
        "cut": lambda: archive.clip(ClipRequest(*whole), videos=True),
        "rendered": lambda: archive.clip(ClipRequest(*whole), videos=False),
        "rendered, cached": lambda: archive.clip(ClipRequest(*whole), videos=False, cached=True),
        "rendered by the base decoder": lambda: archive.clip(ClipRequest(*whole, ClipDecoder.BASE), videos=False),
    }
    took = {name: min(way() for _ in range(rounds)) for name, way in ways.items()}
    return [
        {
            "clip": name,
            "seconds": round(spent, 3),
            "times_real_time": round(seconds / spent, 1),
            "times_peer": round(took["transcoded"] / spent, 2),
        }
        for name, spent in took.items()
    ]


def _key_prices(kind: str, pictures: Sequence[Picture], interval_us: int) -> list[dict[str, Any]]:
    """The bitrate of the archive's videos by how far their key frames are apart."""
    of_segment = round(_SEGMENT_SECONDS * 1e6 / interval_us)
    height, width = pictures[0].shape[:2]

    def rate(key_ticks: int) -> float:
        size = 0
        for first in range(0, len(pictures), of_segment):
            video = VideoEncoder(width, height, key_ticks)
            for number, picture in enumerate(pictures[first : first + of_segment], first):
                video.add(picture, _START_US + number * interval_us)
            size += len(video.finish().mp4)
        return size * 8 / (len(pictures) * interval_us / 1e6) / 1000

    one = rate(1 << 60)
    rates = {"one in a segment": one} | {f"every {each} s": rate(each * TICKS) for each in _KEY_SECONDS}
    assert any(each * TICKS == KEY_TICKS for each in _KEY_SECONDS)
    return [
        {
            "frames": kind,
            "key frames": name,
            "kbit_per_second": round(of, 1),
            "more_percent": round(100 * (of / one - 1), 1),
        }
        for name, of in rates.items()
    ]


def _frames(options: argparse.Namespace) -> tuple[list[Picture], int]:
    """Frames as a person sees them, and the time from one to the next in microseconds."""
    with open_video(options.clip or assets.fetch_clip(assets.CACHE, print), print, print) as (_, video):
        taken = list(islice(video, options.frames))
    if len(taken) < 2:
        raise ConfigError("the clip has fewer than two frames: give another as --clip")
    interval = (taken[-1][0] - taken[0][0]) / (len(taken) - 1)
    return [frame for _, frame in taken], round(interval)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench clips", description=__doc__)
    parser.add_argument("--clip", type=Path, help="(default: the demo's, which is fetched)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--frames", type=int, default=600, help="(default: %(default)s)")
    parser.add_argument("--quality", type=float, default=1.0, help="level of the records (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="of which the quickest counts (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of a network; 0 for one per core")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
