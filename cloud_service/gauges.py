"""Gauges that are worked out when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.camera_series import CameraNames
from cloud_service.database.usage import Tier, read_usage
from cloud_service.store import RecordStore
from icm.errors import StorageError


class StorageGauges(Collector):
    """What is stored, by camera and tier (records, video, thumbnails), and what waits for the detector."""

    def __init__(
        self,
        store: RecordStore,
        database: Engine,
        backlog: Callable[[], dict[str, int]],
        cameras: CameraNames,
    ) -> None:
        """Creates the collector.

        Args:
            backlog: returns by camera the bytes of records that wait for the detector; raises StorageError.
            cameras: those with series of their own.
        """
        self._store, self._database, self._backlog, self._cameras = store, database, backlog, cameras

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stored: Counter[tuple[str, ...]] = Counter()
        for camera in self._store.cameras():
            stored[self._cameras.shown(camera.camera), "records"] += camera.bytes
        try:
            for (name, tier), amount in read_usage(self._database).items():
                if tier is not Tier.RECORDS:
                    stored[self._cameras.shown(name), tier] += amount.bytes
        except SQLAlchemyError:
            # The database's trouble is a health problem already; the other metrics are needed now more than ever.
            pass
        yield _family("icm_archive_bytes", "Bytes stored.", ("camera", "tier"), stored)
        waiting: Counter[tuple[str, ...]] = Counter()
        # As above.
        with suppress(StorageError):
            for name, count in self._backlog().items():
                waiting[(self._cameras.shown(name),)] += count
        yield _family("icm_cloud_backlog_bytes", "Bytes of records that wait for the detector.", ("camera",), waiting)


def _family(name: str, meaning: str, labels: Sequence[str], values: Mapping[tuple[str, ...], int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for named, value in values.items():
        family.add_metric(named, value)
    return family
