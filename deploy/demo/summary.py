"""What the demo tells at its end: a page for a person, and one line of JSON with the same figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.demo.clip import Clip
from deploy.demo.comparison import H264_CRF, JPEG_QUALITY, Sizes
from deploy.demo.progress import Progress
from deploy.demo.watching import Watcher, quantile


@dataclass(frozen=True)
class Summary:
    """Everything there is to tell.

    Attributes:
        clip: the frames the edge was given.
        bundle: name of the codec bundle.
        quality: quality level the edge coded with.
        others: bytes of the same frames in JPEG and H.264.
        videos: the archive's MP4 files, oldest first.
        sheet: the contact sheet.
        seconds: how long it all took, from the edge's start to the last detection.
    """

    clip: Clip
    bundle: str
    quality: float
    progress: Progress
    watcher: Watcher
    others: Sizes
    archive: Path
    videos: list[Path]
    sheet: Path
    seconds: float

    def figures(self) -> dict[str, Any]:
        """The figures, as they stand in the line of JSON. Rates are over the clip's duration; latencies in seconds."""
        persisted = self.progress.to_persisted or (None, None)
        return {
            "frames": self.progress.detected,
            "dropped": self.progress.dropped,
            "clip": self.clip.title,
            "width": self.clip.width,
            "height": self.clip.height,
            "fps": float(self.clip.fps),
            "bundle": self.bundle,
            "quality": self.quality,
            "kbit_per_second": {
                "icm": self._kbits(self.progress.received_bytes),
                f"jpeg_q{JPEG_QUALITY}": self._kbits(self.others.jpeg),
                f"h264_crf{H264_CRF}": self._kbits(self.others.h264),
            },
            "capture_to_persisted_seconds": {"p50": _rounded(persisted[0]), "p95": _rounded(persisted[1])},
            "capture_to_detected_seconds": {
                "p50": _rounded(quantile(self.watcher.latencies, 0.5)),
                "p95": _rounded(quantile(self.watcher.latencies, 0.95)),
            },
            "detections": self.progress.detections,
            "seconds": round(self.seconds, 1),
            "archive": str(self.archive),
            "sheet": str(self.sheet),
        }

    def text(self) -> str:
        """The page."""
        figures = self.figures()
        kbits, clip = figures["kbit_per_second"], self.clip
        frame = "{:>10.1f} kbit/s {:>9.0f} bytes/frame {:>8.3f} bit/pixel".format
        sizes = (self.progress.received_bytes, self.others.jpeg, self.others.h264)
        names = (f"ICM ({self.bundle}, quality {self.quality:g})", f"JPEG, quality {JPEG_QUALITY}",
                 f"H.264 (x264 medium, CRF {H264_CRF})")  # fmt: skip
        rates = [
            f"  {name:<34}{frame(rate, size / clip.frames, 8 * size / clip.frames / clip.width / clip.height)}"
            for name, rate, size in zip(names, kbits.values(), sizes, strict=True)
        ]
        latencies = [
            f"  {label:<34}{_seconds(figures[key]['p50'])} p50 {_seconds(figures[key]['p95'])} p95   ({how})"
            for label, key, how in (
                ("to stored, fsynced in the cloud", "capture_to_persisted_seconds", "from the histogram's buckets"),
                ("to detections at a client", "capture_to_detected_seconds", "exact"),
            )
        ]
        found = [f"  {name:<34}{count:>10}" for name, count in self.progress.detections.items()] or ["  none"]
        return "\n".join(
            [
                "",
                f"{self.progress.detected} frames of {clip.title} ({clip.width}x{clip.height}, {float(clip.fps):g}"
                f" fps) went through in {self.seconds:.1f} s; {self.progress.dropped} were dropped.",
                "",
                "Bitrate of these very frames",
                *rates,
                "",
                "Latency, from the moment of capture",
                *latencies,
                "",
                "Detections",
                *found,
                "",
                f"Archive        {self.archive}: {len(self.videos)} MP4 (H.264) with thumbnails",
                *([f"Play           ffplay {self.videos[0]}   (or any other player)"] if self.videos else []),
                f"Contact sheet  {self.sheet}",
                "",
            ]
        )

    def json(self) -> str:
        """The figures in one line."""
        return json.dumps(self.figures())

    def _kbits(self, size: int) -> float:
        return round(8 * size / self.clip.seconds / 1000, 1)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _seconds(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>8.2f}s"
