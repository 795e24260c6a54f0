"""How far the demo is, and how that looks while it runs."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TextIO

from deploy.demo.clip import Clip
from icm.testing.scraping import Metrics

CAMERA = "demo"
_WINDOW_SECONDS = 5.0
_PLAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """What both services' metrics say at one moment.

    Attributes:
        encoded: frames so far.
        dropped: frames so far that were lost on the edge.
        persisted: frames so far.
        detected: frames so far.
        received_bytes: what the cloud took in.
        spool_bytes: records on the edge that the cloud has not persisted.
        to_persisted: p50 and p95 from the frame's capture until it was persisted, in seconds, from the histograms; None
            before the first frame.
        to_detected: the same until the detector was done with it.
        detections: objects found so far, by class.
    """

    encoded: int
    dropped: int
    persisted: int
    detected: int
    received_bytes: int
    spool_bytes: int
    to_persisted: tuple[float, float] | None
    to_detected: tuple[float, float] | None
    detections: dict[str, int]

    @staticmethod
    def read(edge: Metrics, cloud: Metrics) -> Progress:
        found = cloud.by("icm_cloud_detections_total", "class")
        return Progress(
            encoded=round(edge.total("icm_edge_frames_total", outcome="spooled")),
            dropped=round(edge.total("icm_edge_dropped_total")),
            persisted=round(cloud.total("icm_cloud_records_total", outcome="persisted")),
            detected=round(cloud.total("icm_cloud_capture_to_detected_seconds_count")),
            received_bytes=round(cloud.total("icm_cloud_received_bytes_total")),
            spool_bytes=round(edge.total("icm_edge_spool_bytes")),
            to_persisted=_quantiles(cloud, "icm_cloud_capture_to_persisted_seconds"),
            to_detected=_quantiles(cloud, "icm_cloud_capture_to_detected_seconds"),
            detections={name: round(count) for name, count in sorted(found.items(), key=lambda item: -item[1])},
        )


class Table:
    """Shows progress: a table that renews itself on a terminal, a line now and then anywhere else."""

    def __init__(self, clip: Clip, output: TextIO = sys.stderr) -> None:
        self._clip, self._output = clip, output
        self._terminal = output.isatty()
        self._history: deque[tuple[float, Progress]] = deque()
        self._started = time.monotonic()
        self._last_plain = -_PLAIN_SECONDS
        self._height = 0

    def show(self, now: Progress) -> None:
        """Takes the newest state."""
        moment = time.monotonic() - self._started
        self._history.append((moment, now))
        while len(self._history) > 2 and moment - self._history[0][0] > _WINDOW_SECONDS:
            self._history.popleft()
        if self._terminal:
            # A line that wraps would take two, and the way back up would be wrong.
            width = shutil.get_terminal_size().columns - 1
            lines = [line[:width] for line in self.lines(now, moment)]
            # Back to the table's first line, then over it; each line is cleared to its end.
            up = f"\x1b[{self._height}F" if self._height else ""
            self._output.write(up + "".join(f"{line}\x1b[K\n" for line in lines))
            self._output.flush()
            self._height = len(lines)
        elif moment - self._last_plain >= _PLAIN_SECONDS:
            self._last_plain = moment
            print(self.line(now, moment), file=self._output, flush=True)

    def lines(self, now: Progress, moment: float) -> list[str]:
        """The table, a row for each station on a frame's way."""
        clip = self._clip
        kbits = f"{self._rate('received_bytes') * 8 / 1000:.1f}"
        rows = [
            ("station", "frames", "fps", "kbit/s", "waiting before it", "capture to here, p50 / p95"),
            self._row("edge: coded", "encoded", "", f"{clip.frames - now.encoded - now.dropped} frames", ""),
            self._row("cloud: stored", "persisted", kbits, f"{now.spool_bytes / 1000:.1f} kB", _pair(now.to_persisted)),
            self._row("cloud: seen", "detected", "", f"{now.persisted - now.detected} frames", _pair(now.to_detected)),
        ]
        title = f"{clip.title}, {clip.width}x{clip.height}, {float(clip.fps):g} fps, {clip.frames} frames"
        found = ", ".join(f"{name} {count}" for name, count in list(now.detections.items())[:6])
        return [
            f"  {title}   {moment:.0f} s of {clip.seconds:.0f} s",
            *(f"  {a:<14}{b:>8}{c:>8}{d:>9}{e:>20}   {f}" for a, b, c, d, e, f in rows),
            f"  {now.dropped} dropped; detections: {found or 'none yet'}",
        ]

    def line(self, now: Progress, moment: float) -> str:
        """The same in one line."""
        return (
            f"{moment:4.0f} s: {now.encoded} coded, {now.persisted} stored, {now.detected} of {self._clip.frames} seen"
            f" at {self._rate('detected'):.1f} fps, {self._rate('received_bytes') * 8 / 1000:.1f} kbit/s,"
            f" spool {now.spool_bytes / 1000:.1f} kB, to stored {_pair(now.to_persisted)},"
            f" to seen {_pair(now.to_detected)}, {sum(now.detections.values())} detections, {now.dropped} dropped"
        )

    def _row(self, station: str, count: str, kbits: str, waiting: str, latency: str) -> tuple[str, ...]:
        current = self._history[-1][1]
        return station, str(getattr(current, count)), f"{self._rate(count):.1f}", kbits, waiting, latency

    def _rate(self, name: str) -> float:
        """Growth per second of one of Progress' numbers over the last seconds."""
        (then, before), (now, after) = self._history[0], self._history[-1]
        return float(getattr(after, name) - getattr(before, name)) / (now - then) if now > then else 0.0


def _quantiles(metrics: Metrics, name: str) -> tuple[float, float] | None:
    p50, p95 = metrics.quantile(name, 0.5), metrics.quantile(name, 0.95)
    return None if p50 is None or p95 is None else (p50, p95)


def _pair(quantiles: tuple[float, float] | None) -> str:
    return "-" if quantiles is None else f"{quantiles[0]:.2f} / {quantiles[1]:.2f} s"
