"""The cloud's metrics, by the names that dashboards and alerts know."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cloud_service.camera_series import CameraNames
from icm.service.telemetry import LATENCY_BUCKETS, STAGE_BUCKETS


class Metrics:
    """All of them, in a registry of their own.

    Those by camera are bounded: see ``cameras``.

    ``records`` outcomes: persisted, duplicate, rejected (at the ingest), skipped (by the decoder).
    ``stage_seconds`` stages: persist (a group), decode (a batch), synthesis (a batch),
    detect (a batch), archive (a frame).
    """

    def __init__(self, codec: str) -> None:
        """Creates the metrics in a registry of their own.

        Args:
            codec: name of the bundle in use.
        """
        self.registry = CollectorRegistry()
        self.cameras = CameraNames()
        per_camera = self.cameras.per_camera
        self.records = per_camera(
            Counter(
                "icm_cloud_records", "Records, by what became of them.", ["camera", "outcome"], registry=self.registry
            )
        )
        self.received_bytes = per_camera(
            Counter(
                "icm_cloud_received_bytes",
                "Bytes of the messages that brought records.",
                ["camera"],
                registry=self.registry,
            )
        )
        self.stage_seconds = Histogram(
            "icm_cloud_stage_seconds",
            "Time that one step of a stage took.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self.capture_to_persisted = per_camera(
            Histogram(
                "icm_cloud_capture_to_persisted_seconds",
                "From a frame's capture until its record was on the disk.",
                ["camera"],
                buckets=LATENCY_BUCKETS,
                registry=self.registry,
            )
        )
        self.capture_to_detected = per_camera(
            Histogram(
                "icm_cloud_capture_to_detected_seconds",
                "From a frame's capture until its detections could be read.",
                ["camera"],
                buckets=LATENCY_BUCKETS,
                registry=self.registry,
            )
        )
        self.clock_skew = per_camera(
            Gauge(
                "icm_cloud_clock_skew_seconds",
                "How far an edge's clock is behind the cloud's, the way between them included.",
                ["camera"],
                registry=self.registry,
            )
        )
        self._pending_bytes = Gauge(
            "icm_cloud_pending_bytes", "Bytes of records in memory that wait for the disk.", registry=self.registry
        )
        self.detections = per_camera(
            Counter("icm_cloud_detections", "Objects found.", ["camera", "class"], registry=self.registry)
        )
        self.reused_detections = per_camera(
            Counter(
                "icm_cloud_reused_detections",
                "Frames that took over the detections of one before, as too little had changed.",
                ["camera"],
                registry=self.registry,
            )
        )
        self.interpolated_detections = per_camera(
            Counter(
                "icm_cloud_interpolated_detections",
                "Frames whose detections were worked out from those of frames before and after.",
                ["camera"],
                registry=self.registry,
            )
        )
        self.detector_failures = per_camera(
            Counter(
                "icm_cloud_detector_failures", "Frames that the detector failed on.", ["camera"], registry=self.registry
            )
        )
        self.store_failures = per_camera(
            Counter(
                "icm_cloud_store_failures", "Times that the disk took no records.", ["camera"], registry=self.registry
            )
        )
        self.archive_failures = per_camera(
            Counter(
                "icm_archive_failures", "Video segments that could not be written.", ["camera"], registry=self.registry
            )
        )
        Gauge(
            "icm_build_info", "Always 1; what runs is in the labels.", ["version", "codec"], registry=self.registry
        ).labels(version("icm-bridge"), codec).set(1)

    def watch_pending(self, size: Callable[[], float]) -> None:
        """Asks how many bytes wait for the disk whenever metrics are read."""
        self._pending_bytes.set_function(size)
