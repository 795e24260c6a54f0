"""What a start makes of the segment files it finds.

The files are the truth. What the index says of a file saves reading it, and never costs a byte of it. Only what was
read and is no whole record is cut off, only at the end of a file, and kept beside it as ``<name>.damaged``.

Files are looked at a few thousand at a time, beside their rows of the index, so a start takes time by their number and
no memory.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.database.usage import Amount
from cloud_service.store.index import Change, SegmentIndex, State
from cloud_service.store.index.camera_log import CameraLog
from cloud_service.store.index.deleted import DeletedSegments
from cloud_service.store.index.rows import NUMBER, READABLE, STATE, segment_of
from cloud_service.store.keyframes import KEYFRAME_SUFFIX
from cloud_service.store.segment import BLOCK_BYTES, Segment, cut, number_of, sync_file, write_again
from cloud_service.store.segment_scan import Scan, scan
from cloud_service.store.sequences import SequenceSet
from icm.atomic_file import write_atomically
from icm.codec.bitstream.record import Record
from icm.errors import StorageError

log = logging.getLogger(__name__)
_FILES = 2000
"""Looked at together."""
_CHANGES = 1000
"""Of the index, made together."""


class _File(NamedTuple):
    """A segment file; its path relative to the store's folder, its size in bytes."""

    number: int
    path: str
    size: int


@dataclass
class Recovered:
    """A camera.

    Attributes:
        log: of its segments, all sealed and on the disk.
        keyframes: what its key frames take.
        read: numbers of those that were read, and not taken at the index's word.
        unreadable: of each file that cannot be read, or not to its end, what is wrong.
        unwritten: changes of the index that the database refused.
    """

    log: CameraLog = field(default_factory=CameraLog)
    keyframes: Amount = field(default_factory=Amount)
    read: SequenceSet = field(default_factory=SequenceSet)
    unreadable: list[str] = field(default_factory=list)
    unwritten: list[Change] = field(default_factory=list)


def recover(root: Path, index: SegmentIndex) -> dict[str, Recovered]:
    """Every camera's segments.

    Files that the index knows are taken at its word if their size fits. All others are read, and the newest of each
    camera always: what comes next may refer to its last record.

    Raises:
        OSError: the folder cannot be read, or the disk refused.
        SQLAlchemyError: the database does not answer.
    """
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    return {name: _Recovery(root, name, index).run() for name in sorted({*index.cameras(), *folders})}


class _Recovery:
    """Of one camera's folder."""

    def __init__(self, root: Path, camera: str, index: SegmentIndex) -> None:
        self._root, self._camera, self._index, self._stills = root, camera, index, index.stills(root)
        self._found = Recovered()
        self._changes: list[Change] = []
        self._numbers, self._taken, self._deleted = SequenceSet(), SequenceSet(), SequenceSet()
        self._damaged_rows = 0

    def run(self) -> Recovered:
        self._found.log.next_number = self._index.next_number(self._camera)
        self._take_deleted()
        rows, gone = self._index.count(self._camera), self._index.gone(self._camera)
        to_read, of_files = self._compare(gone)
        self._read(to_read)
        if rows - of_files > len(gone):
            self._note_gone(gone)
        self._flush()
        if self._damaged_rows:
            log.warning("camera %s: the rows of %d segments in the index are damaged", self._camera, self._damaged_rows)
        self._found.log.last_indexed = self._found.log.next_number - 1
        return self._found

    def _take_deleted(self) -> None:
        """What was deleted is known as before, and its numbers do not come back."""
        try:
            for entry in DeletedSegments(self._root).entries(self._camera):
                self._found.log.note_deleted(entry.epoch, entry.sequences)
                for run in entry.numbers:
                    self._deleted.add_range(*run)
        except StorageError as error:
            log.error("camera %s: %s", self._camera, error)
            self._found.unreadable.append(str(error))
        self._found.log.next_number = max(self._found.log.next_number, self._deleted.last + 1)

    def _compare(self, gone: set[int]) -> tuple[list[tuple[_File, Segment | None]], int]:
        """Takes the files that the index knows as they are.

        Args:
            gone: numbers of the rows that are marked so; those whose files are back are taken out.

        Returns:
            The files that must be read, each with what the index says of it, and how many rows belong to files.
        """
        to_read: list[tuple[_File, Segment | None]] = []
        newest: tuple[_File, Segment] | None = None
        of_files = 0
        for files, keyframes, alone in _lumps(self._root, self._camera):
            self._found.keyframes += keyframes
            self._stills.note(self._camera, [path for number, path in alone if number in self._deleted])
            numbers = SequenceSet((file.number, file.number) for file in files)
            known = {row[NUMBER]: row for row in self._index.rows(self._camera, numbers)}
            of_files += len(known) - sum(number in self._numbers for number in known if number <= self._numbers.last)
            for run in numbers:
                self._numbers.add_range(*run)
            gone.difference_update(known)
            for file in files:
                row = known.get(file.number)
                segment = segment_of(row) if row is not None else None
                self._damaged_rows += row is not None and segment is None
                if row is None or segment is None or segment.path != file.path or row[STATE] == State.DAMAGED:
                    to_read.append((file, None))
                elif segment.size != file.size:
                    to_read.append((file, segment))
                else:
                    if row[STATE] not in READABLE:
                        self._change(segment, State.WHOLE)
                    self._taken.add(file.number)
                    if newest is None or file.number > newest[0].number:
                        newest, last = (file, segment), newest
                        segment = last[1] if last is not None else None
                    if segment is not None:
                        self._found.log.add(segment)
        if newest is not None and newest[0].number < self._numbers.last:
            self._found.log.add(newest[1])
        elif newest is not None:
            to_read.append(newest)
        self._found.log.next_number = max(self._found.log.next_number, self._numbers.last + 1)
        return sorted(to_read, key=lambda each: each[0]), of_files

    def _read(self, files: list[tuple[_File, Segment | None]]) -> None:
        """Takes files by what can be read of them.

        Args:
            files: in order of their numbers, as ``_compare`` has them.
        """
        longer: list[tuple[Path, Segment]] = []
        before = 0
        for file, known in files:
            path, newest = self._root / file.path, file.number == self._numbers.last
            if file.number == before or (file.number in self._taken and not newest):
                self._leave(path, "another file has its number")
                continue
            before = file.number
            if known is not None and file.size > known.size:
                longer.append((path, known))
            else:
                with self._bad_blocks_told(path, file.number):
                    self._take(path, file.number, known, newest)
        for path, known in longer:
            with self._bad_blocks_told(path, known.number):
                self._take_longer(path, known)

    def _note_gone(self, gone: set[int]) -> None:
        """Marks the rows whose files are not there: what was deleted, by a database of before, and what is missing.

        Args:
            gone: numbers of those that are marked already.
        """
        absent = [n for n in self._index.numbers(self._camera) if n not in self._numbers and n not in gone]
        for number in (n for n in absent if n in self._deleted):
            self._note(Change(self._camera, number, None, State.DELETED))
        missing = [n for n in absent if n not in self._deleted]
        records, first = 0, ""
        for row in self._index.rows(self._camera, SequenceSet((n, n) for n in missing)):
            segment = segment_of(row)
            first = first or (segment.path if segment is not None else f"number {row[NUMBER]}")
            records += segment.records if segment is not None else 0
            self._note(Change(self._camera, row[NUMBER], None, State.GONE))
        if missing:
            log.error("camera %s: %d segments are gone, %s the first; the index says they held %d records",
                      self._camera, len(missing), self._root / first, records)  # fmt: skip

    @contextmanager
    def _bad_blocks_told(self, path: Path, number: int) -> Iterator[None]:
        """A file that the disk cannot give keeps no other from being taken."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._leave(path, f"the disk cannot read it: {error.strerror}", number)

    def _take(self, path: Path, number: int, known: Segment | None, newest: bool) -> None:
        """Takes a file by what can be read of it."""
        # A killed process may have left records in the page cache only; from here on they count as persisted.
        sync_file(path)
        result = scan(self._root, path, number)
        if not self._belongs(path, number, result, known):
            return
        segment = result.segment
        assert segment is not None
        if known is not None and known.size == segment.size:
            # When it arrived is known better than from the file's time, which a copy does not keep.
            segment.kept_from_us = known.kept_from_us
        if result.damage is None:
            if known is not None and segment.records < known.records:
                self._complain(path, f"it holds {segment.records} records, the index says {known.records}")
            self._keep(segment)
        elif known is None and newest and not result.more:
            # Torn in a crash: this was never acknowledged as persisted.
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
            return segment.size >= known.size and self._found.log.holds(segment.epoch, record.sequence)

        result = scan(self._root, path, known.number, elsewhere)
        if not self._belongs(path, known.number, result, known):
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

    def _belongs(self, path: Path, number: int, result: Scan, known: Segment | None) -> bool:
        """Whether there are records in the file, and of this camera."""
        segment = result.segment
        if segment is not None and segment.camera != self._camera:
            self._leave(path, f"it holds records of camera {segment.camera}, not of {self._camera}", number)
        elif known is None and (result.torn if segment is None else not segment.records and not result.more):
            log.warning("%s: setting aside a segment that holds no whole record", path)
            path.replace(_free_name(path))
            self._note(Change(self._camera, number, None, None))
        elif segment is None or not segment.records:
            self._leave(path, f"it cannot be read: {result.damage or 'it holds no record'}", number)
        else:
            return True
        return False

    def _keep(self, segment: Segment) -> None:
        self._add(segment)
        self._change(segment, State.WHOLE)

    def _doubt(self, path: Path, segment: Segment, result: Scan) -> None:
        """Takes what comes before damage. The disk lost what was persisted, so the file stays as it is, to be looked
        at, and is read again at each start.
        """
        self._complain(path, f"its last {result.rest} bytes cannot be read: {result.damage}")
        self._add(segment)
        self._change(segment, State.DAMAGED)

    def _add(self, segment: Segment) -> None:
        segment.disk_bytes = (self._root / segment.path).stat().st_blocks * BLOCK_BYTES
        self._found.log.add(segment)
        self._found.read.add(segment.number)

    def _leave(self, path: Path, reason: str, number: int | None = None) -> None:
        """Leaves a file where it is, and its records out.

        Args:
            number: whose row goes; None: it is another file's.
        """
        self._complain(path, reason)
        if number is not None:
            self._note(Change(self._camera, number, None, None))

    def _complain(self, path: Path, reason: str) -> None:
        log.error("%s: %s", path, reason)
        self._found.unreadable.append(f"{path.relative_to(self._root)}: {reason}")

    def _change(self, segment: Segment, state: State) -> None:
        self._note(Change(self._camera, segment.number, segment, state))

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        if len(self._changes) >= _CHANGES:
            self._flush()

    def _flush(self) -> None:
        """Makes the changes of the index; failing to is no failure of the store."""
        try:
            self._index.write(self._changes)
        except SQLAlchemyError as error:
            log.warning("cannot index %d segments yet: %s", len(self._changes), trouble(error))
            self._found.unwritten += self._changes
            self._found.log.unwritten |= {change.number: change.segment for change in self._changes}
        self._changes = []

    def _cut(self, path: Path, size: int) -> None:
        """Cuts a file and keeps what is cut; a disk too full for that must not keep the store from opening."""
        try:
            write_atomically(_free_name(path), path.read_bytes()[size:])
        except OSError as error:
            log.warning("%s: leaving what was to be cut off, which cannot be kept: %s", path, error)
            return
        cut(path, size)


def _lumps(root: Path, camera: str) -> Iterator[tuple[list[_File], Amount, list[tuple[int, str]]]]:
    """A camera's segment files, anywhere below its folder, some thousands at a time, each time by their numbers, with
    what the key frames beside them take, and number and path of those that stand there without their segment.
    """
    lump: list[_File] = []
    keyframes, alone = Amount(), list[tuple[int, str]]()
    folders = [str(root / camera)] if (root / camera).is_dir() else []
    skipped = len(str(root)) + 1
    while folders:
        inner, here, keys = [], set[int](), dict[int, str]()
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
                elif (number := number_of(entry.name)) is not None:
                    lump.append(_File(number, entry.path[skipped:], entry.stat().st_size))
                    here.add(number)
                elif entry.name.endswith(KEYFRAME_SUFFIX):
                    found = entry.stat()
                    keyframes += (1, found.st_size, found.st_blocks * BLOCK_BYTES)
                    if (of := number_of(f"{entry.name.removesuffix(KEYFRAME_SUFFIX)}.icm")) is not None:
                        keys[of] = entry.path[skipped:]
        folders += sorted(inner, reverse=True)
        alone += [(number, path) for number, path in keys.items() if number not in here]
        if len(lump) + len(alone) >= _FILES:
            yield sorted(lump), keyframes, alone
            lump, keyframes, alone = [], Amount(), []
    yield sorted(lump), keyframes, alone


def _free_name(path: Path) -> Path:
    """``<name>.damaged``, or with a number behind where an earlier one is kept."""
    aside, count = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.damaged-{count}")
    return aside
