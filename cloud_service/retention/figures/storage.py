"""All that a page about storage shows, looked up once in a while: pages are loaded more often than disks change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from cloud_service.database.usage import Amount, Tier, UsageKey, read_usage
from cloud_service.holds.book import HoldBook
from cloud_service.holds.budget import HoldMeter, Kept
from cloud_service.retention.disk import Floor
from cloud_service.retention.figures.disk_shares import Disk, DiskShares
from cloud_service.retention.figures.forecast import Growth, full_times_us, read_growth
from cloud_service.retention.loop import Retention
from cloud_service.retention.state import State
from cloud_service.retention.view import DatabaseView
from cloud_service.retention_settings import RetentionSettings
from icm.errors import storage_error
from icm.service.clock import Clock

FRESH_SECONDS = 10.0
SHOWN_TIERS = (Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS, Tier.INDEX)


@dataclass(frozen=True)
class StoredTier:
    """One tier of a camera: what it takes, and what the age of its oldest counts from, microseconds since 1970."""

    amount: Amount
    oldest_us: int | None


@dataclass(frozen=True)
class StorageReport:
    """What is stored; times in microseconds since 1970.

    Attributes:
        at_us: when it was looked up.
        shares: of the disk.
        held: what holds keep of tiers on this disk.
        cameras: tiers that have something, by camera.
        growth: None before the first day is over.
        full_us: when limits are reached, by rule.
        state: of retention.
        settings: that hold.
    """

    at_us: int
    shares: DiskShares
    held: Kept
    cameras: Mapping[str, Mapping[Tier, StoredTier]]
    growth: Growth | None
    full_us: Mapping[str, int]
    state: State
    settings: RetentionSettings


class StorageReporter:
    """Looks it up. Thread-safe."""

    def __init__(self, *, retention: Retention, database: Engine, holds: HoldBook, disk: Disk, clock: Clock) -> None:
        """Looks nothing up yet.

        Args:
            clock: for how old a report is.
        """
        self._retention, self._database, self._holds, self._disk = retention, database, holds, disk
        self._clock, self._lock = clock, threading.Lock()
        self._view, self._meter = DatabaseView(database, disk.root), HoldMeter(database)
        self._report: StorageReport | None = None
        self._read = 0.0

    def report(self) -> StorageReport:
        """What is stored, ten seconds old at most.

        Raises:
            SQLAlchemyError: the database does not answer.
            StorageError: the disk does not.
        """
        with self._lock:
            now = self._clock.monotonic()
            if self._report is None or now - self._read >= FRESH_SECONDS:
                try:
                    self._report, self._read = self._look(), now
                except OSError as error:
                    raise storage_error(error, self._disk.root) from None
            return self._report

    def _look(self) -> StorageReport:
        usage, state, at_us = read_usage(self._database), self._retention.state, self._clock.now_us()
        settings, shares = self._retention.policy.settings, self._disk.shares(usage)
        growth = read_growth(self._database, at_us)
        least = Floor(settings.total).least(shares.space)
        return StorageReport(
            at_us=at_us,
            shares=shares,
            held=self._meter.all_kept(self._holds.active(state.clock.now_us)),
            cameras=self._cameras(usage),
            growth=growth,
            full_us={} if growth is None else full_times_us(settings, growth, shares.space, least, at_us),
            state=state,
            settings=settings,
        )

    def _cameras(self, usage: Mapping[UsageKey, Amount]) -> dict[str, dict[Tier, StoredTier]]:
        found: dict[str, dict[Tier, StoredTier]] = {}
        for camera in sorted({key.camera for key, amount in usage.items() if amount.files}):
            for tier in SHOWN_TIERS:
                counted = (Tier.RECORDS, Tier.KEYFRAMES) if tier is Tier.RECORDS else (tier,)
                amount = Amount()
                for each in counted:
                    amount += usage.get(UsageKey(camera, each), Amount())
                oldest_us = self._view.oldest_us(tier, camera)
                if amount.files or oldest_us is not None:
                    found.setdefault(camera, {})[tier] = StoredTier(amount, oldest_us)
        return found
