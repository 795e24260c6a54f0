"""The disk as the floors see it, and a ballast that gives deletions room on one that is full."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloud_service.retention.plan import Need
from cloud_service.retention_settings import RetentionSettings, TotalSettings

log = logging.getLogger(__name__)
_MARGIN = 0.01
_MARGIN_BYTES = 1 << 30
"""How much more than the floor is made free once it was broken, or one part in a hundred if that is more; on a disk of
less than 20 GiB a part in twenty."""
_FREED_PART = 0.5
_CHECKED_BYTES = 64 << 20


class Space(NamedTuple):
    """A file system: what it has in all, and what is free for this process."""

    bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int


def space_of(folder: Path) -> Space:
    """The file system that a folder is on.

    Raises:
        OSError: it does not say.
    """
    found = os.statvfs(folder)
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)


NOWHERE = Space(0, 0, 0, 0)
"""What is no disk here, as a bucket: nothing is ever lacking."""


def space_apart(archive: Path | None, root: Path) -> Space | None:
    """The file system of the archive; None if the store is on the same.

    Args:
        archive: its folder; None if it is in a bucket.
        root: the store's folder.

    Raises:
        OSError: one does not say.
    """
    if archive is None:
        return NOWHERE
    return space_of(archive) if os.stat(archive).st_dev != os.stat(root).st_dev else None


def most_held_bytes(settings: Callable[[], RetentionSettings], folder: Path) -> int:
    """Bytes that all holds together may keep.

    Args:
        settings: returns those that hold now.
        folder: of the store.

    Raises:
        OSError: its file system does not say how large it is.
    """
    return int(settings().holds.max_fraction * space_of(folder).bytes)


@dataclass
class Floor:
    """Whether enough is free, with a distance between where deletion begins and where it ends.

    Attributes:
        active: whether it was broken, and is not met with that distance yet.
    """

    settings: TotalSettings
    active: bool = False

    def need(self, space: Space) -> Need:
        """What is lacking now."""
        least = self.least(space)
        least_inodes = round(space.inodes * self.settings.min_free_inodes_fraction)
        broken = space.free_bytes < least or space.free_inodes < least_inodes
        if not broken and not self.active:
            return Need()
        margin = min(max(_MARGIN_BYTES, round(space.bytes * _MARGIN)), space.bytes // 20) if least else 0
        margin_inodes = round(space.inodes * _MARGIN) if least_inodes else 0
        need = Need(max(0, least + margin - space.free_bytes), max(0, least_inodes + margin_inodes - space.free_inodes))
        self.active = bool(need.bytes or need.inodes)
        return need

    def is_pressing(self, space: Space) -> bool:
        """Whether so little is free that no more may be taken: half of what should be."""
        return (
            space.free_bytes < self.least(space) // 2
            or space.free_inodes < round(space.inodes * self.settings.min_free_inodes_fraction) // 2
        )

    def least(self, space: Space) -> int:
        """Bytes of the disk that are to stay free."""
        return max(round(space.bytes * self.settings.min_free_fraction), self.settings.min_free_bytes)


@dataclass
class Freed:
    """Compares what deletions should have freed with what they did: on a disk that keeps snapshots they free nothing.

    Attributes:
        in_vain: whether twice in a row less than half came free.
    """

    in_vain: bool = False
    _expected: int = 0
    _came: int = 0
    _misses: int = 0

    def note(self, expected: int, came: int) -> None:
        """A batch should have freed so many bytes, and so many came free."""
        self._expected, self._came = self._expected + expected, self._came + came
        if self._expected < _CHECKED_BYTES:
            return
        self._misses = self._misses + 1 if self._came < _FREED_PART * self._expected else 0
        self.in_vain = self._misses >= 2
        self._expected = self._came = 0


class Ballast:
    """A file that takes room for nothing until a full disk needs it."""

    def __init__(self, path: Path | None, size: int, space: Callable[[Path], Space] = space_of) -> None:
        """Names the file.

        Args:
            path: None where there is to be none.
            size: of it, in bytes.
            space: returns what a folder's file system has.
        """
        self._path, self._size, self._space = (path if size else None), size, space

    def fill(self) -> None:
        """Makes it where there is much more room than that."""
        path = self._path
        with suppress(OSError):
            if path is None or path.exists() or self._space(path.parent).free_bytes < 4 * self._size:
                return
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)

    def drop(self) -> bool:
        """Gives its room to whoever needs it; returns whether there was any."""
        if self._path is None:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        log.warning("the disk is full: gave up %s for room to note deletions in", self._path)
        return True
