"""Deletes what was planned, so that a crash at any moment leaves nothing half gone.

1. What records go is noted in the store's own files: an edge that sends them again hears that they were persisted.
2. One transaction takes the rows out, and what came of the segments, notes the files as garbage, leaves tombstones, and
   changes the usage. From here on readers see a gap.
3. The files are unlinked, 4. their folders waited for, 5. and the garbage is forgotten.

A start does 3 to 5 for what an earlier process left.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.archive.catalogue import mark_gone
from cloud_service.archive.orphans import Orphan, known_paths
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.damage import trouble
from cloud_service.database.retention_tables import ForgottenRow, GarbageRow, StillRow
from cloud_service.database.statements import add_rows, put_rows, transaction
from cloud_service.database.tables import RecordSegmentRow
from cloud_service.database.usage import Amount, Tier, UsageKey, add_usage
from cloud_service.proof.tombstones import Deletion, write_tombstones
from cloud_service.retention.items import Item, Planned, Reason
from cloud_service.retention.policy import DERIVED
from cloud_service.sightings.deletion import delete_events, delete_found
from cloud_service.store import RecordStore, Segment, SequenceSet
from cloud_service.store.index import SegmentIndex
from cloud_service.store.index.rows import State, segment_of
from cloud_service.store.index.segment_index import forget
from cloud_service.store.keyframes import KEYFRAME_SUFFIX, amount_of
from icm.errors import StorageError, storage_error
from icm.folders import delete_files

log = logging.getLogger(__name__)
RECORDS, ARCHIVE = "records", "archive"
_GARBAGE_AT_ONCE = 1000


class Step(Enum):
    """What has just been done."""

    NOTED = auto()
    COMMITTED = auto()
    UNLINKED = auto()
    SYNCED = auto()
    DONE = auto()


@dataclass(frozen=True)
class Deleted:
    """What went: what was planned and by when, as far as it was still there."""

    planned: list[Planned]

    @property
    def disk_bytes(self) -> int:
        """What the disk gets back: nothing of what is deleted within a database's file."""
        return sum(each.item.disk_bytes for each in self.planned if each.item.tier is not Tier.INDEX)


@dataclass(frozen=True)
class _Record:
    """A segment of records that goes.

    Attributes:
        keyframe: what its key frame takes.
    """

    planned: Planned
    segment: Segment
    keyframe: Amount

    @property
    def keyframe_path(self) -> str:
        return str(Path(self.segment.path).with_suffix(KEYFRAME_SUFFIX))


class Deleter:
    """Deletes from one store and its archive. Belongs to one thread."""

    def __init__(
        self,
        *,
        root: Path,
        store: RecordStore,
        database: Engine,
        storage: ArchiveStorage,
        check: Callable[[], None],
        bury: Callable[[Sequence[Deletion]], None] = lambda deletions: None,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> None:
        """Creates what deletes.

        Args:
            root: the store's folder.
            check: asked before anything is deleted; raises a StorageError where the store, its disk or its archive is
                not what it was.
            bury: chains deletions, before any file goes.
            on_step: told of each step.
        """
        self._bury = bury
        self._root, self._store, self._database, self._storage = root, store, database, storage
        self._index = SegmentIndex(database)
        self._check, self._on_step = check, on_step

    def delete(self, batch: Sequence[Planned], by: str, at_us: int) -> Deleted:
        """Deletes a batch.

        Args:
            by: who wants it, for tombstones.
            at_us: when, microseconds since 1970.

        Raises:
            StorageError: the disk or the database refused; what is done is done, and the rest is as it was.
        """
        self.check()
        try:
            records = self._records(batch)
            self._note(records, at_us)
            self._on_step(Step.NOTED)
            with transaction(self._database) as connection:
                self._take_records(connection, records, by, at_us)
                self._take_stills(connection, batch)
                self._take_derived(connection, batch)
                self._take_index(connection, batch)
        except SQLAlchemyError as error:
            raise StorageError(f"the database takes no deletions: {trouble(error)}") from error
        except OSError as error:
            raise storage_error(error, self._root) from None
        self._on_step(Step.COMMITTED)
        self._forget(records)
        self._bury([_deletion(record, by, at_us) for record in records])
        gone = {id(record.planned) for record in records}
        self.collect()
        return Deleted([each for each in batch if each.item.tier is not Tier.RECORDS or id(each) in gone])

    def collect(self) -> None:
        """Unlinks all garbage, and forgets it.

        Raises:
            StorageError: the disk or the database refused; the rest is garbage still.
        """
        self.check()
        collect_garbage(self._database, self._root, self._storage, self._on_step)

    def delete_orphans(self, orphans: Sequence[Orphan]) -> list[Orphan]:
        """Deletes files of the archive, but for those that a row knows by now; returns what went.

        Raises:
            StorageError: the disk or the database refused.
        """
        self.check()
        gone = []
        try:
            for camera in sorted({orphan.camera for orphan in orphans}):
                mine = [orphan for orphan in orphans if orphan.camera == camera]
                with transaction(self._database) as connection:
                    known = known_paths(connection, camera, [orphan.number for orphan in mine])
                    going = [orphan for orphan in mine if orphan.path not in known]
                    _add_garbage(connection, ARCHIVE, {orphan.path: orphan.disk_bytes for orphan in going})
                gone += going
        except SQLAlchemyError as error:
            raise StorageError(f"the database takes no deletions: {trouble(error)}") from error
        if gone:
            self.collect()
        return gone

    def check(self) -> None:
        """Checks that the store and its archive are where they should be.

        Raises:
            StorageError: one is not; nothing may be deleted.
        """
        self._check()

    def _records(self, batch: Sequence[Planned]) -> list[_Record]:
        """The segments of records in a batch, but for those that are not there as the plan saw them."""
        planned = {(each.item.camera, each.item.number): each for each in batch if each.item.tier is Tier.RECORDS}
        numbers: dict[str, list[int]] = defaultdict(list)
        for camera, number in planned:
            numbers[camera].append(number)
        found = []
        for camera, wanted in numbers.items():
            removable = self._store.removable(camera, wanted)
            for row in self._index.rows(camera, SequenceSet((number, number) for number in removable)):
                if (segment := segment_of(row)) is None:
                    log.error("camera %s: a damaged row of the index keeps a segment from being deleted", camera)
                    continue
                if planned[camera, segment.number].stills:
                    self._store.keyframes.keep_intra(segment)
                keyframe = amount_of((self._root / segment.path).with_suffix(KEYFRAME_SUFFIX))
                found.append(_Record(planned[camera, segment.number], segment, keyframe))
        return found

    def _note(self, records: Sequence[_Record], at_us: int) -> None:
        by_rule: dict[tuple[str, Reason, str], list[Segment]] = defaultdict(list)
        for record in records:
            by_rule[record.segment.camera, record.planned.reason, record.planned.rule].append(record.segment)
        for (_, reason, rule), segments in by_rule.items():
            self._store.deleted.note(segments, reason, rule, at_us)

    def _take_records(self, connection: Connection, records: Sequence[_Record], by: str, at_us: int) -> None:
        by_camera: dict[str, list[_Record]] = defaultdict(list)
        for record in records:
            by_camera[record.segment.camera].append(record)
        for camera, mine in by_camera.items():
            forget(connection, camera, [record.segment.number for record in mine])
            for record in mine:
                delete_events(connection, record.segment)
            for tier in DERIVED:
                numbers = [record.segment.number for record in mine if tier in record.planned.along]
                paths = mark_gone(connection, camera, numbers, tier) if numbers else []
                _add_garbage(connection, ARCHIVE, dict.fromkeys(paths, 0))
            going = {record.segment.path: record.segment.disk_bytes for record in mine}
            keyframes = [record for record in mine if record.keyframe.files and not record.planned.stills]
            going |= {record.keyframe_path: record.keyframe.disk_bytes for record in keyframes}
            _add_garbage(connection, RECORDS, going)
            taken = sum((record.keyframe for record in keyframes), start=Amount())
            add_usage(connection, {UsageKey(camera, Tier.KEYFRAMES): -taken})
            stay = [_still(record) for record in mine if record.keyframe.files and record.planned.stills]
            add_rows(connection, StillRow, stay, (StillRow.number,))
        write_tombstones(connection, [_deletion(record, by, at_us) for record in records])

    def _take_stills(self, connection: Connection, batch: Sequence[Planned]) -> None:
        keys = [(each.item.camera, each.item.number) for each in batch if each.item.tier is Tier.STILLS]
        if not keys:
            return
        of = tuple_(StillRow.camera, StillRow.number).in_(keys)
        rows = connection.execute(select(StillRow.__table__).where(of)).all()
        connection.execute(delete(StillRow).where(of))
        _add_garbage(connection, RECORDS, {row.path: row.disk_bytes for row in rows})
        for row in rows:
            gone = Amount(1, row.bytes, row.disk_bytes)
            add_usage(connection, {UsageKey(row.camera, Tier.KEYFRAMES): -gone})
            self._store.keyframes.count(row.camera, -gone)

    def _take_derived(self, connection: Connection, batch: Sequence[Planned]) -> None:
        numbers: dict[tuple[str, Tier], list[int]] = defaultdict(list)
        sizes: dict[tuple[str, Tier], int] = defaultdict(int)
        for each in batch:
            if each.item.tier in DERIVED:
                numbers[each.item.camera, each.item.tier].append(each.item.number)
                sizes[each.item.camera, each.item.tier] += each.item.disk_bytes
        for (camera, tier), wanted in numbers.items():
            paths = mark_gone(connection, camera, wanted, tier)
            _add_garbage(connection, ARCHIVE, dict.fromkeys(paths, sizes[camera, tier] // max(1, len(paths))))

    def _take_index(self, connection: Connection, batch: Sequence[Planned]) -> None:
        going: dict[str, list[Item]] = defaultdict(list)
        for each in batch:
            if each.item.tier is Tier.INDEX:
                going[each.item.camera].append(each.item)
        for camera, items in going.items():
            numbers = SequenceSet((item.number, item.number) for item in items)
            last_us = max(item.last_capture_us for item in items)
            for row in self._index.rows(camera, numbers):
                if (segment := segment_of(row)) is not None:
                    delete_found(connection, segment)
                    last_us = max(last_us, segment.last_capture_us)
            known = connection.scalar(select(ForgottenRow.last_us).where(ForgottenRow.camera == camera)) or 0
            put_rows(connection, ForgottenRow, [{"camera": camera, "last_us": max(known, last_us)}], ("last_us",))

    def _forget(self, records: Sequence[_Record]) -> None:
        by_camera: dict[str, list[_Record]] = defaultdict(list)
        for record in records:
            by_camera[record.segment.camera].append(record)
        for camera, mine in by_camera.items():
            gone = sum((each.keyframe for each in mine if not each.planned.stills), start=Amount())
            self._store.keyframes.count(camera, -gone)
            self._store.remove(camera, [record.segment for record in mine])


def collect_garbage(
    database: Engine,
    root: Path,
    storage: ArchiveStorage | None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Unlinks the files that are noted as garbage, waits for their folders, and forgets them.

    Args:
        storage: None to leave the archive's for later.

    Raises:
        StorageError: the disk or the database refused; the rest is garbage still.
    """
    try:
        for name in (RECORDS, ARCHIVE) if storage is not None else (RECORDS,):
            while paths := _garbage(database, name):
                if name == RECORDS:
                    absent = delete_files(root, paths, lambda: on_step(Step.UNLINKED))
                    if absent:
                        # A crash leaves some, and a person may have been here; nothing else deletes.
                        log.warning("%s: %d of %d files to delete were not there", root, absent, len(paths))
                else:
                    assert storage is not None
                    storage.delete(paths)
                    on_step(Step.UNLINKED)
                on_step(Step.SYNCED)
                with transaction(database) as connection:
                    connection.execute(delete(GarbageRow).where(GarbageRow.root == name, GarbageRow.path.in_(paths)))
                on_step(Step.DONE)
    except SQLAlchemyError as error:
        raise StorageError(f"the database takes no deletions: {trouble(error)}") from error
    except OSError as error:
        raise storage_error(error, root) from None


def note_restored(database: Engine, store: RecordStore, at_us: int) -> int:
    """Leaves tombstones of segments that were deleted after the copy was made which this database is.

    Args:
        at_us: the time, microseconds since 1970.

    Returns:
        How many there were.
    """
    noted = 0
    of = RecordSegmentRow
    query = select(of.camera, of.number).where(of.state == State.DELETED).limit(_GARBAGE_AT_ONCE)
    index = SegmentIndex(database)
    while True:
        with database.connect() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return noted
        with transaction(database) as connection:
            for camera in sorted({row.camera for row in rows}):
                numbers = [row.number for row in rows if row.camera == camera]
                segments = [
                    found
                    for row in index.rows(camera, SequenceSet((number, number) for number in numbers))
                    if (found := segment_of(row)) is not None
                ]
                for segment in segments:
                    entry = store.deleted.find(camera, segment.epoch, segment.sequences.first)
                    reason, rule = (entry.reason, entry.rule) if entry is not None else ("unknown", "not noted")
                    write_tombstones(connection, [Deletion(segment, reason, rule, "an earlier database", at_us)])
                forget(connection, camera, numbers)
        noted += len(rows)


def _deletion(record: _Record, by: str, at_us: int) -> Deletion:
    return Deletion(record.segment, record.planned.reason, record.planned.rule, by, at_us)


def _garbage(database: Engine, root: str) -> list[str]:
    with database.connect() as connection:
        query = select(GarbageRow.path).where(GarbageRow.root == root).limit(_GARBAGE_AT_ONCE)
        return list(connection.scalars(query))


def _add_garbage(connection: Connection, root: str, paths: dict[str, int]) -> None:
    add_rows(
        connection,
        GarbageRow,
        [{"root": root, "path": path, "disk_bytes": size} for path, size in paths.items()],
        (GarbageRow.path,),
    )


def _still(record: _Record) -> dict[str, Any]:
    segment = record.segment
    return {
        "camera": segment.camera,
        "number": segment.number,
        "epoch": segment.epoch,
        "first_sequence": segment.sequences.first,
        "kept_from_us": segment.kept_from_us,
        "first_capture_us": segment.first_capture_us,
        "last_capture_us": segment.last_capture_us,
        "path": record.keyframe_path,
        "bytes": record.keyframe.bytes,
        "disk_bytes": record.keyframe.disk_bytes,
    }
