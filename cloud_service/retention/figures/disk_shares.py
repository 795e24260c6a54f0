"""What takes the disk that the records are on, so that it adds up to the disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloud_service.database.usage import Amount, Tier, UsageKey
from cloud_service.retention.disk import Space, space_of
from cloud_service.retention.policy import DERIVED
from cloud_service.store.keyframes import amount_of


@dataclass(frozen=True)
class DiskShares:
    """Bytes of the disk.

    Attributes:
        space: of the file system.
        tiers: of what the cloud keeps there, by tier.
        cache: what was rendered on demand.
        database: the database, if it is a file there.
        foreign: all other files.
        elsewhere: what of the archive lies on another file system, or on an object store.
    """

    space: Space
    tiers: Mapping[Tier, int]
    cache: int
    database: int
    foreign: int
    elsewhere: int


@dataclass(frozen=True)
class Disk:
    """The file system of a store.

    Attributes:
        root: folder of the records.
        archive: that of video and thumbnails; None where they are on no disk of this machine.
        database: its file; None where a server has it.
        cache_bytes: returns what was rendered on demand takes; raises OSError.
    """

    root: Path
    archive: Path | None
    database: Path | None
    cache_bytes: Callable[[], int]

    def shares(self, usage: Mapping[UsageKey, Amount]) -> DiskShares:
        """What takes it now.

        Args:
            usage: as the database has it.

        Raises:
            OSError: the file system does not say.
        """
        space, device = space_of(self.root), os.stat(self.root).st_dev
        taken: Counter[Tier] = Counter()
        for key, amount in usage.items():
            taken[key.tier] += amount.disk_bytes
        elsewhere = 0
        if self.archive is None or not _is_on(self.archive, device):
            elsewhere = sum(taken.pop(tier, 0) for tier in DERIVED)
        database = 0
        if self.database is not None and _is_on(self.database, device):
            # With what SQLite keeps beside it.
            files = (self.database.with_name(f"{self.database.name}{end}") for end in ("", "-wal", "-shm"))
            database = sum(amount_of(path).disk_bytes for path in files)
        cache = self.cache_bytes()
        # What root alone may use is free for nobody here, and so it counts as others'.
        foreign = space.bytes - space.free_bytes - sum(taken.values()) - database - cache
        return DiskShares(space, taken, cache, database, foreign, elsewhere)


def _is_on(path: Path, device: int) -> bool:
    with suppress(OSError):
        return os.stat(path).st_dev == device
    return False
