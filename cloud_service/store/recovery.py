"""What a start makes of the segment files it finds.

The files are the truth. What the index says of a file saves reading it, and never costs a byte of it. Only what was
read and is no whole record is cut off, only at the end of a file, and kept beside it as ``<name>.damaged``.
"""

from __future__ import annotations

import errno
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloud_service.store.index import SegmentIndex
from cloud_service.store.segment import Segment, cut, number_of, sync_file, write_again
from cloud_service.store.segment_scan import Scan, scan
from icm.atomic_file import write_atomically
from icm.codec.bitstream.record import Record

log = logging.getLogger(__name__)


@dataclass
class Recovered:
    """A camera's segments in order of their numbers, all sealed and on the disk.

    Attributes:
        next_number: the next free one.
        unreadable: of each file that cannot be read, or not to its end, what is wrong.
    """

    segments: list[Segment] = field(default_factory=list)
    next_number: int = 1
    unreadable: list[str] = field(default_factory=list)

    def holds(self, epoch: int, sequence: int) -> bool:
        return any(segment.epoch == epoch and sequence in segment.sequences for segment in self.segments)


def recover(root: Path, index: SegmentIndex) -> dict[str, Recovered]:
    """Every camera's segments.

    Files that the index knows are taken at its word if their size fits. All others are read, and the newest of each
    camera always: what comes next may lean on its last record.

    Raises:
        OSError: the folder cannot be read, or the disk refused.
    """
    known = index.load()
    cameras: dict[str, Recovered] = defaultdict(Recovered)
    for name, number in index.next_numbers().items():
        cameras[name].next_number = max(1, number)
    _note_gone(root, known)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        _Recovery(root, folder, known, cameras[folder.name]).run(index)
    return cameras


def _note_gone(root: Path, known: dict[str, Segment]) -> None:
    gone: dict[str, list[Segment]] = defaultdict(list)
    for segment in known.values():
        if not (root / segment.path).exists():
            gone[segment.camera].append(segment)
    for name, segments in gone.items():
        records = sum(segment.records for segment in segments)
        log.error("camera %s: %d segments are gone, %s the first; the index says they held %d records",
                  name, len(segments), root / segments[0].path, records)  # fmt: skip


class _Recovery:
    """Of one camera's folder."""

    def __init__(self, root: Path, folder: Path, known: dict[str, Segment], found: Recovered) -> None:
        self._root, self._folder, self._known, self._found = root, folder, known, found
        self._read: list[Segment] = []
        self._doubted: list[Segment] = []

    def run(self, index: SegmentIndex) -> None:
        numbered = sorted(
            (number, path) for path in self._folder.rglob("*.icm") if (number := number_of(path)) is not None
        )
        longer: list[tuple[Path, Segment]] = []
        before = 0
        for number, path in numbered:
            if number == before:
                self._leave(path, "another file has its number")
                continue
            before = number
            self._found.next_number = max(self._found.next_number, number + 1)
            known, size = self._known.get(str(path.relative_to(self._root))), path.stat().st_size
            newest = number == numbered[-1][0]
            if known is not None and size > known.size:
                longer.append((path, known))
            elif known is not None and size == known.size and not newest:
                self._found.segments.append(known)
            else:
                with self._bad_blocks_told(path, known):
                    self._take(path, number, known, newest)
        for path, known in longer:
            with self._bad_blocks_told(path, known):
                self._take_longer(path, known)
        self._found.segments.sort(key=lambda segment: segment.number)
        index.forget(self._doubted)
        index.put(self._read)

    @contextmanager
    def _bad_blocks_told(self, path: Path, known: Segment | None) -> Iterator[None]:
        """A file that the disk cannot give keeps no other from being taken."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._leave(path, f"the disk cannot read it: {error.strerror}", known)

    def _take(self, path: Path, number: int, known: Segment | None, newest: bool) -> None:
        """Takes a file by what can be read of it."""
        # A killed process may have left records in the page cache only; from here on they count as persisted.
        sync_file(path)
        result = scan(self._root, path, number)
        if not self._belongs(path, result, known):
            return
        segment = result.segment
        assert segment is not None
        if result.damage is None:
            if known is not None and segment.records < known.records:
                self._complain(path, f"it holds {segment.records} records, the index says {known.records}")
            self._keep(segment)
        elif known is None and newest and not result.more:
            # Torn in a crash: nobody was told that this is persisted.
            log.warning("%s: cutting off a torn tail of %d bytes: %s", path, result.rest, result.damage)
            self._cut(path, segment.size)
            self._keep(segment)
        else:
            self._doubt(path, segment, result)

    def _take_longer(self, path: Path, known: Segment) -> None:
        """Takes a file that goes on where the index says that it ends: a write failed and could not be undone, or
        another process wrote on after the index was made. Whole records that are nowhere else are kept.
        """

        def elsewhere(segment: Segment, record: Record) -> bool:
            return segment.size >= known.size and self._found.holds(segment.epoch, record.sequence)

        result = scan(self._root, path, known.number, elsewhere)
        if not self._belongs(path, result, known):
            return
        segment = result.segment
        assert segment is not None
        if segment.size < known.size or result.more:
            self._doubt(path, segment, result)
            return
        if segment.size > known.size:
            log.warning("%s: taking %d records that the index does not know of", path, segment.records - known.records)
            # A disk that failed to write them once may have them in its cache only, as if they were written.
            write_again(path, known.size, segment.size)
        if result.rest:
            reason = result.damage or "the records in them are held elsewhere"
            log.warning("%s: cutting off the last %d bytes: %s", path, result.rest, reason)
            self._cut(path, segment.size)
        self._keep(segment)

    def _belongs(self, path: Path, result: Scan, known: Segment | None) -> bool:
        """Whether there are records in the file, and of this camera."""
        segment = result.segment
        if segment is not None and segment.camera != self._folder.name:
            self._leave(path, f"it holds records of camera {segment.camera}, not of {self._folder.name}", known)
        elif known is None and (result.torn if segment is None else not segment.records and not result.more):
            log.warning("%s: setting aside a segment that holds no whole record", path)
            path.replace(_free_name(path))
        elif segment is None or not segment.records:
            self._leave(path, f"it cannot be read: {result.damage or 'it holds no record'}", known)
        else:
            return True
        return False

    def _keep(self, segment: Segment) -> None:
        self._found.segments.append(segment)
        self._read.append(segment)

    def _doubt(self, path: Path, segment: Segment, result: Scan) -> None:
        """Takes what comes before damage. The disk lost what was persisted, so the file stays as it is, to be looked
        at, and is read again at each start.
        """
        self._complain(path, f"its last {result.rest} bytes cannot be read: {result.damage}")
        self._doubted.append(segment)
        self._found.segments.append(segment)

    def _leave(self, path: Path, reason: str, known: Segment | None = None) -> None:
        """Leaves a file where it is, and its records out."""
        self._complain(path, reason)
        if known is not None:
            self._doubted.append(known)

    def _complain(self, path: Path, reason: str) -> None:
        log.error("%s: %s", path, reason)
        self._found.unreadable.append(f"{path.relative_to(self._root)}: {reason}")

    def _cut(self, path: Path, size: int) -> None:
        """Cuts a file and keeps what is cut; a disk too full for that must not keep the store from opening."""
        try:
            write_atomically(_free_name(path), path.read_bytes()[size:])
        except OSError as error:
            log.warning("%s: leaving what was to be cut off, which cannot be kept: %s", path, error)
            return
        cut(path, size)


def _free_name(path: Path) -> Path:
    """``<name>.damaged``, or with a number behind where an earlier one is kept."""
    aside, count = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.damaged-{count}")
    return aside
