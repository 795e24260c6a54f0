"""The segment files of a camera as they lie on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from cloud_service.store.segment import number_of


class SegmentFile(NamedTuple):
    """A file: its path relative to the records' folder, and its size in bytes."""

    path: str
    size: int


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
