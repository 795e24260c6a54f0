"""What a start makes of the segment files it finds."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cloud_service.record_store.index import SegmentIndex
from cloud_service.record_store.segment import Segment, cut, number_of, scan, sync_file

log = logging.getLogger(__name__)


@dataclass
class Recovered:
    """A camera's segments in order of their numbers, all sealed and on the disk, and the next free number."""

    segments: list[Segment] = field(default_factory=list)
    next_number: int = 1


def recover(root: Path, index: SegmentIndex) -> dict[str, Recovered]:
    """Every camera's segments.

    Files that the index knows are taken at its word if their size fits. The others are read; a torn tail, which a
    crash leaves behind and nobody was told is persisted, is cut off. What is cut off is kept in a file beside it, named
    ``.damaged``: where the disk itself forgot a bit, whole records may follow that somebody can save.

    Raises:
        OSError: the folder cannot be read, or the disk refused.
    """
    known = index.load()
    cameras: dict[str, Recovered] = defaultdict(Recovered)
    read: list[Segment] = []
    for segment in known.values():
        camera = cameras[segment.camera]
        # A number must not come back even if its file is gone: readers remember it.
        camera.next_number = max(camera.next_number, segment.number + 1)
        if not (root / segment.path).exists():
            log.error("%s is gone, the index says it held %d records", root / segment.path, segment.records)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        numbered = sorted((number, path) for path in folder.rglob("*.icm") if (number := number_of(path)) is not None)
        for number, path in numbered:
            found = known.get(str(path.relative_to(root)))
            if found is None or not _agrees(path, found):
                found = _read(root, path, number, newest=number == numbered[-1][0])
                if found is not None:
                    read.append(found)
            if found is not None:
                cameras[folder.name].segments.append(found)
                cameras[folder.name].next_number = max(cameras[folder.name].next_number, number + 1)
    index.put(read)
    return cameras


def _agrees(path: Path, segment: Segment) -> bool:
    found = path.stat().st_size
    if found > segment.size:
        # A write failed here and the file could not be cut then; nothing past the indexed size was acknowledged.
        log.warning("%s: cutting off %d bytes that were never persisted", path, found - segment.size)
        cut(path, segment.size)
    elif found < segment.size:
        log.error("%s has %d bytes, the index says %d: records are lost", path, found, segment.size)
    return found >= segment.size


def _read(root: Path, path: Path, number: int, newest: bool) -> Segment | None:
    # A killed process may have left records in the page cache only; from here on they count as persisted.
    sync_file(path)
    segment, damage = scan(root, path, number)
    if segment is None or segment.records == 0:
        if newest:
            log.warning("%s: removing a segment that holds no whole record", path)
            _set_aside(path, 0)
            path.unlink()
        else:
            log.error("%s cannot be read: %s", path, damage or "it holds no record")
        return None
    if damage is not None:
        lost = path.stat().st_size - segment.size
        if newest:
            log.warning("%s: cutting off a torn tail of %d bytes: %s", path, lost, damage)
            _set_aside(path, segment.size)
            cut(path, segment.size)
        else:
            # Only the newest segment can be torn; here the disk lost what was persisted, so keep it to be looked at.
            log.error("%s is damaged, its last %d bytes cannot be read: %s", path, lost, damage)
    return segment


def _set_aside(path: Path, start: int) -> None:
    """Keeps what follows ``start``; a disk too full for that must not keep the store from opening."""
    tail = path.read_bytes()[start:]
    try:
        path.with_name(f"{path.name}.damaged").write_bytes(tail)
    except OSError as error:
        log.warning("%s: cannot keep the %d bytes that are cut off: %s", path, len(tail), error)
