"""The segment files of a camera as they lie on the disk, and what lies beside them about those that were deleted."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cloud_service.store.index.deleted import DeletedSegments
from cloud_service.store.segment import number_of
from icm.errors import StorageError


class SegmentFile(NamedTuple):
    """A file: its path relative to the records' folder, and its size in bytes."""

    path: str
    size: int


class Noted(NamedTuple):
    """That a segment was deleted, by which kind of rule, and when or after, in microseconds since 1970."""

    reason: str
    at_us: int


def noted_deletions(records: Path, camera: str, since_us: int) -> dict[int, Noted]:
    """What the store's own notes say of deletions, by number; they know the day alone.

    Args:
        since_us: from which day on, as the time of one of its moments.
    """
    found: dict[int, Noted] = {}
    first = f"{datetime.fromtimestamp(since_us // 1_000_000, UTC):%Y-%m-%d}"
    try:
        for entry in DeletedSegments(records).entries(camera):
            if entry.day < first[:7]:
                break
            if entry.day >= first:
                for low, high in entry.numbers:
                    found.update(dict.fromkeys(range(low, high + 1), Noted(entry.reason, since_us)))
    except StorageError:
        # What cannot be read excuses nothing.
        return {}
    return found


def segment_files(records: Path, camera: str) -> tuple[dict[int, SegmentFile], list[tuple[int, SegmentFile]]]:
    """All segment files below a camera's folder.

    Returns:
        The files by their number, and those whose number another has too.

    Raises:
        OSError: a folder cannot be read.
    """
    found: dict[int, SegmentFile] = {}
    twice: list[tuple[int, SegmentFile]] = []
    folders = [str(records / camera)] if (records / camera).is_dir() else []
    skipped = len(str(records)) + 1
    while folders:
        inner = []
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
                elif (number := number_of(entry.name)) is not None:
                    file = SegmentFile(entry.path[skipped:], entry.stat().st_size)
                    if number in found:
                        twice.append((number, file))
                    else:
                        found[number] = file
        folders += sorted(inner, reverse=True)
    return found, twice
