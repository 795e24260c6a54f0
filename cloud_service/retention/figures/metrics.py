"""What retention tells Prometheus: above all that it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.camera_series import CameraNames
from cloud_service.database.usage import Tier, read_usage
from cloud_service.holds.book import HoldBook
from cloud_service.retention.disk import Floor, Space, most_held_bytes
from cloud_service.retention.figures.disk_shares import Disk
from cloud_service.retention.figures.forecast import Growth, full_times_us, read_growth
from cloud_service.retention.loop import Retention
from cloud_service.retention.view import DatabaseView

OLDEST_SECONDS = 30.0
"""Between two looks at what is oldest."""
GROWTH_SECONDS = 600.0
"""Between two looks at what arrived on the last days."""


class RetentionGauges(Collector):
    """Worked out when asked, from the state of the loop and the usage that the database keeps."""

    def __init__(
        self,
        retention: Retention,
        database: Engine,
        holds: HoldBook,
        disk: Disk,
        cameras: CameraNames,
    ) -> None:
        """Creates the collector.

        Args:
            disk: that the store is on.
            cameras: those with series of their own.
        """
        self._view = DatabaseView(database, disk.root)
        self._oldest: dict[tuple[str, ...], float] = {}
        self._looked_at = -OLDEST_SECONDS
        self._growth: Growth | None = None
        self._grown_at = -GROWTH_SECONDS
        self._retention, self._database, self._holds = retention, database, holds
        self._disk, self._cameras = disk, cameras

    def collect(self) -> Iterator[Metric]:
        state = self._retention.state
        labels = ("camera", "tier", "reason")
        for named, said, values in (
            ("icm_retention_deleted_bytes", "Bytes that were deleted.", state.deleted_bytes),
            ("icm_retention_deleted_segments", "Segments that went from a tier.", state.deleted_items),
        ):
            counter = CounterMetricFamily(named, said, labels=labels)
            for key, count in self._shown(values).items():
                counter.add_metric(key, count)
            yield counter
        overdue = GaugeMetricFamily(
            "icm_retention_overdue_bytes",
            "Bytes of the oldest that a limit of age says should be gone and are not.",
            labels=("tier",),
        )
        for tier in (Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS):
            overdue.add_metric((tier,), state.overdue_bytes[tier])
        yield overdue
        for name, meaning, value in (
            (
                "icm_retention_last_success_timestamp_seconds",
                "When a pass ended well.",
                state.last_success_us / 1e6,
            ),
            ("icm_retention_clock_trusted", "1 while ages go by the machine's clock.", float(state.clock.trusted)),
            ("icm_retention_floor_active", "1 while things go as the disk is too full.", float(state.floor_active)),
            ("icm_retention_frees_nothing", "1 if deletions free nothing.", float(state.freed_in_vain)),
            ("icm_retention_blocked", "1 while no record is taken as nothing more may go.", float(state.blocked)),
            ("icm_retention_waiting", "1 while changed rules wait for an operator.", float(state.waiting)),
            (
                "icm_retention_store_missing",
                "1 while the store or its archive is not where it should be, and nothing is deleted.",
                float(state.store_missing),
            ),
            (
                "icm_archive_orphan_files",
                "Files in the archive that no row knows and that stay, when they were looked for last.",
                float(state.orphan_files),
            ),
            ("icm_archive_orphan_bytes", "Bytes of these files.", float(state.orphan_bytes)),
            ("icm_hold_bytes", "Bytes that holds keep; what several keep counts once.", float(state.holds.bytes)),
            ("icm_holds_near_budget", "Holds that have used 90 % of their budget.", float(state.holds.near)),
            ("icm_holds_full", "Holds that keep no more of what arrives.", float(state.holds.full)),
            ("icm_holds", "Holds that keep something.", float(len(self._holds.active(state.clock.now_us)))),
        ):
            yield GaugeMetricFamily(name, meaning, value=value)
        yield self._ages()
        yield from self._storage()

    def _ages(self) -> Metric:
        """The oldest of each camera and tier. With many cameras these are many queries, so they are not asked at each
        scrape, but for that of a store in which there was nothing."""
        if not self._oldest or time.monotonic() - self._looked_at >= OLDEST_SECONDS:
            found: dict[tuple[str, ...], float] = {}
            with suppress(SQLAlchemyError):
                for camera in self._view.cameras():
                    for tier in (Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS, Tier.INDEX):
                        if (oldest_us := self._view.oldest_us(tier, camera)) is not None:
                            key: tuple[str, ...] = (self._cameras.shown(camera), tier.value)
                            found[key] = min(found.get(key, float("inf")), oldest_us / 1e6)
            self._oldest, self._looked_at = found, time.monotonic()
        family = GaugeMetricFamily(
            "icm_retention_oldest_timestamp_seconds",
            "What the age of the oldest that is left counts from.",
            labels=("camera", "tier"),
        )
        for named, value in self._oldest.items():
            family.add_metric(named, value)
        return family

    def _shown(self, values: Mapping[tuple[str, str, str], int]) -> Mapping[tuple[str, ...], int]:
        shown: Counter[tuple[str, ...]] = Counter()
        for (camera, tier, reason), value in list(values.items()):
            shown[self._cameras.shown(camera), tier, reason] += value
        return shown

    def _storage(self) -> Iterator[Metric]:
        try:
            shares = self._disk.shares(read_usage(self._database))
        except (SQLAlchemyError, OSError):
            return
        space, kinds = shares.space, {tier.value: size for tier, size in shares.tiers.items()}
        kinds |= {"cache": shares.cache, "database": shares.database, "foreign": shares.foreign}
        kinds["free"] = space.free_bytes
        family = GaugeMetricFamily(
            "icm_storage_bytes",
            "Bytes of the store's disk by what takes them; together they are the disk.",
            labels=("kind",),
        )
        for kind, value in kinds.items():
            family.add_metric((kind,), value)
        yield family
        yield self._forecast(space)
        yield GaugeMetricFamily(
            "icm_hold_limit_bytes",
            "Bytes that all holds together may keep.",
            value=most_held_bytes(lambda: self._retention.policy.settings, self._disk.root),
        )
        yield GaugeMetricFamily("icm_storage_free_inodes", "Inodes that are free.", value=space.free_inodes)

    def _forecast(self, space: Space) -> Metric:
        settings, now_us = self._retention.policy.settings, self._retention.state.clock.now_us
        if now_us is not None and time.monotonic() - self._grown_at >= GROWTH_SECONDS:
            with suppress(SQLAlchemyError):
                self._growth = read_growth(self._database, now_us)
            self._grown_at = time.monotonic()
        family = GaugeMetricFamily(
            "icm_storage_full_timestamp_seconds",
            "When a limit is reached, as things grew on the last seven days; none where age deletes as much before.",
            labels=("rule",),
        )
        if now_us is not None and self._growth is not None:
            least = Floor(settings.total).least(space)
            for rule, at_us in full_times_us(settings, self._growth, space, least, now_us).items():
                family.add_metric((rule,), at_us / 1e6)
        return family
