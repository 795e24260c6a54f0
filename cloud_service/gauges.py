"""Gauges that are worked out when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.record_store import RecordStore


class StorageGauges(Collector):
    """What is stored, by camera and tier (records, mp4, thumbnails), and what waits for the detector."""

    def __init__(self, store: RecordStore, catalogue: VideoCatalogue, backlog: Callable[[], dict[str, int]]) -> None:
        """Args: backlog, bytes of records by camera that wait for the detector."""
        self._store = store
        self._catalogue = catalogue
        self._backlog = backlog

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stored = GaugeMetricFamily("icm_archive_bytes", "Bytes stored.", labels=["camera", "tier"])
        for camera in self._store.cameras():
            stored.add_metric([camera.camera, "records"], camera.bytes)
        try:
            for name, (videos, thumbnails) in self._catalogue.bytes_by_camera().items():
                stored.add_metric([name, "mp4"], videos)
                stored.add_metric([name, "thumbnails"], thumbnails)
        except SQLAlchemyError:
            # The database's trouble is a health problem already; the other metrics are needed now more than ever.
            pass
        yield stored
        waiting = GaugeMetricFamily(
            "icm_cloud_backlog_bytes", "Bytes of records that wait for the detector.", labels=["camera"]
        )
        for name, count in self._backlog().items():
            waiting.add_metric([name], count)
        yield waiting
