"""What an edge counts and measures."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from edge_service.losses import Losses
from edge_service.rate.control import DECISIONS, Decision, RateState
from icm.codec.bitstream.record import Kind
from icm.errors import SpoolError
from icm.service.telemetry import STAGE_BUCKETS

STAGES = ("encode", "spool", "uplink")
"""uplink: from sent to settled by the cloud."""


_RATE_GAUGES: tuple[tuple[str, str, Callable[[RateState], float]], ...] = (
    (
        "icm_edge_target_bits_per_second",
        "Bits a second that a camera's records may take now; 0 without a bound.",
        lambda state: state.target,
    ),
    ("icm_edge_quality_level", "Quality level of a camera's next frame.", lambda state: state.quality),
    ("icm_edge_frame_rate", "Frames a second that a camera coded lately.", lambda state: state.frame_rate),
    ("icm_edge_scale", "Factor that a camera's pictures are scaled by, of their sides.", lambda state: state.scale),
)


class EdgeMetrics:
    """All metrics of one edge process.

    Attributes:
        frames: by camera and what became of them: spooled, or as ``losses`` counts it.
        encoded_bytes: bytes of whole records by camera and kind, ``I`` or ``P``.
        stage_seconds: by camera and one of ``STAGES``.
        losses: frames and records that do not arrive.
    """

    def __init__(self, bundle: str) -> None:
        """Creates the metrics in a registry of their own.

        Args:
            bundle: its name, for ``icm_build_info``.
        """
        registry = self.registry = CollectorRegistry()
        self.frames = Counter(
            "icm_edge_frames", "Frames by what became of them.", ["camera", "outcome"], registry=registry
        )
        self.encoded_bytes = Counter(
            "icm_edge_encoded_bytes", "Bytes of whole records.", ["camera", "kind"], registry=registry
        )
        self.stage_seconds = Histogram(
            "icm_edge_stage_seconds",
            "Time in each stage.",
            ["camera", "stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        dropped = Counter(
            "icm_edge_dropped", "Frames and records lost, by reason.", ["camera", "reason"], registry=registry
        )
        self.losses = Losses(self.frames, dropped)
        self._spool_bytes = Gauge(
            "icm_edge_spool_bytes", "Size of the records that wait in the spool.", registry=registry
        )
        self._spool_oldest = Gauge(
            "icm_edge_spool_oldest_seconds", "How long the oldest record has waited in the spool.", registry=registry
        )
        self._last_detection = Gauge(
            "icm_edge_last_detection_timestamp_seconds",
            "When the newest frame in which the cloud found something was spooled; 0 unless policy keep_detections"
            " knows of one.",
            ["camera"],
            registry=registry,
        )
        self._rate_decisions = Counter(
            "icm_edge_rate_decisions", "What rate control decided.", ["camera", "decision"], registry=registry
        )
        self._rate_gauges = [
            (Gauge(name, meaning, ["camera"], registry=registry), value) for name, meaning, value in _RATE_GAUGES
        ]
        build = Gauge("icm_build_info", "Always 1.", ["service", "version", "bundle"], registry=registry)
        build.labels("edge", version("icm-bridge"), bundle).set(1)
        ProcessCollector(registry=registry)

    def add_camera(self, camera: str, last_detection_us: Callable[[], int]) -> None:
        """Shows a camera's series from the start, at zero: a counter that appears with its first drop has no rate."""
        self._last_detection.labels(camera).set_function(_unless_spool_fails(lambda: last_detection_us() / 1e6))
        self.frames.labels(camera, "spooled")
        self.losses.show(camera)
        for kind in Kind:
            self.encoded_bytes.labels(camera, kind.name)
        for stage in STAGES:
            self.stage_seconds.labels(camera, stage)

    def watch_rate(self, camera: str, state: Callable[[], RateState]) -> None:
        """Asks a camera's rate control where it stands whenever metrics are read."""
        for decision in DECISIONS:
            self._rate_decisions.labels(camera, decision)
        for gauge, value in self._rate_gauges:
            gauge.labels(camera).set_function(partial(_value, state, value))

    def count_decision(self, camera: str, decision: Decision) -> None:
        """Rate control changed something."""
        self._rate_decisions.labels(camera, decision).inc()

    def watch_spool(self, size: Callable[[], float], oldest_seconds: Callable[[], float]) -> None:
        """Asks for the spool's state whenever metrics are read."""
        self._spool_bytes.set_function(size)
        self._spool_oldest.set_function(_unless_spool_fails(oldest_seconds))


def _unless_spool_fails(value: Callable[[], float]) -> Callable[[], float]:
    """The value, or NaN where the spool cannot be read: the other metrics are needed then more than ever."""

    def read() -> float:
        try:
            return value()
        except SpoolError:
            return math.nan

    return read


def _value(state: Callable[[], RateState], value: Callable[[RateState], float]) -> float:
    return value(state())
