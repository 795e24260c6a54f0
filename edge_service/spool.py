"""The spool: records on disk until the cloud has persisted them.

One SQLite file per edge. It also keeps each camera's epoch and next sequence for ever: a sequence that was once used
must never name another frame, whatever crashes, because the cloud keeps the first record that it gets by that name.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_service.spool_folder import FILE_NAME, lock_folder
from edge_service.spool_records import delete, first_waiting, mend, shrink
from edge_service.spool_repair import SCHEMA, repair
from edge_service.spool_room import Dropped, Policy, Room, oldest
from shared.clock import Clock
from shared.codec.record import stands_alone
from shared.errors import ReferenceMissingError, SpoolError, SpoolFullError

STAND_IN_RECORDS = 64
"""Waiting records of a camera, none of which stands alone, from which on the next one gets a stand-in: the most of a
camera's records that go together when the oldest must. Records are persisted long before, unless the cloud is away."""
STAND_IN_SHARE = 1 / 16
"""The same, as a part of the spool's bound in bytes."""

REMEMBERED = 4096
"""Acknowledgements whose time is remembered until the cloud tells in which of their frames it found something."""

OnDrop = Callable[[str, str, int], None]
"""Told camera, reason (``spool_full``, ``spool_thinned``, ``spool_aged`` or ``spool_damaged``) and number of records
that are lost."""


@dataclass(frozen=True)
class Batch:
    """Some records in order of sequence, and the packed stream header that holds for all of them."""

    header: bytes
    records: list[tuple[int, bytes]]


class Spool:
    """The spool of one edge process. Thread-safe; every method may block on the disk."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_age_seconds: float,
        clock: Clock,
        policy: Policy = "block",
        on_drop: OnDrop = lambda camera, reason, count: None,
        recent_seconds: float = 60.0,
    ) -> None:
        """Opens the spool, or makes it. A damaged file is set aside, and what can be read of it goes on.

        Args: see ``Room`` for the bounds.

        Raises:
            SpoolError: the folder cannot be used, or another process uses it.
        """
        self.path = folder / FILE_NAME
        self.room = Room(self.path, max_bytes, max_age_seconds, policy, recent_seconds, clock)
        self._clock, self._on_drop = clock, on_drop
        self._lock = threading.Lock()
        self._lock_file = lock_folder(folder)
        self._bytes: int
        self._cameras: dict[str, CameraSpool] = {}
        try:
            with self._reporting():
                for camera, count in repair(self.path).items():
                    on_drop(camera, "spool_damaged", count)
                with closing(sqlite3.connect(self.path)) as new:
                    # Before the journal's mode is set, after which SQLite takes no other kind of vacuum.
                    new.executescript(SCHEMA)
                # Appends must survive a power cut before they are sent. Deletions need not: a record that comes back
                # is sent again, and the cloud knows it already.
                self._durable = self._connect("FULL")
                self._relaxed = self._connect("NORMAL")
                (self._bytes,) = self._durable.execute("SELECT coalesce(sum(bytes), 0) FROM camera").fetchone()
        except OSError as error:
            os.close(self._lock_file)
            raise SpoolError(f"cannot repair the spool file {self.path}: {error.strerror}") from None
        except SpoolError:
            os.close(self._lock_file)
            raise

    def close(self) -> None:
        with self._lock:
            self._durable.close()
            self._relaxed.close()
            os.close(self._lock_file)

    def camera(self, name: str) -> CameraSpool:
        """The part of one camera; made, with a new epoch, at the first call ever.

        Always the same object for the same name: encoder and uplink must agree on the next sequence.
        """
        if name in self._cameras:
            return self._cameras[name]
        with self._reading() as connection:
            row = connection.execute("SELECT id, epoch, next_sequence FROM camera WHERE name = ?", (name,)).fetchone()
        if row is None:
            epoch = self._clock.now_us()
            with self._writing(self._durable) as connection:
                cursor = connection.execute("INSERT INTO camera VALUES (NULL, ?, ?, 1, 0, 0)", (name, epoch))
                row = (cursor.lastrowid, epoch, 1)
        return self._cameras.setdefault(name, CameraSpool(self, name, *row))

    def waiting_cameras(self) -> list[str]:
        """Names of the cameras with records that are not persisted yet."""
        with self._reading() as connection:
            return [name for (name,) in connection.execute("SELECT name FROM camera WHERE bytes > 0 ORDER BY name")]

    @property
    def bytes(self) -> int:
        """Size of all records that wait."""
        return self._bytes

    def oldest_seconds(self) -> float:
        """How long the oldest record has been waiting; 0 if there is none."""
        with self._reading() as connection:
            return self.room.age(oldest(connection))

    def _settle(self, dropped: Dropped) -> None:
        """After the transaction: what went is no longer here, and nothing may lean on it."""
        with self._lock:
            self._bytes -= dropped.bytes
        for name, last in dropped.last.items():
            camera = self.camera(name)
            camera.unusable = max(camera.unusable, last)
        for (name, reason), count in dropped.counts.items():
            if count:
                self._on_drop(name, reason, count)

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._reporting():
            yield self._relaxed

    @contextmanager
    def _writing(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block happens, or nothing."""
        with self._lock, self._reporting():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise SpoolFullError(f"the disk that holds the spool {self.path} is full: make room on it") from None
            if type(error) is sqlite3.DatabaseError:
                raise SpoolError(
                    f"the spool file {self.path} is damaged ({error}): restart icm-edge, which saves what it can"
                ) from None
            raise SpoolError(f"cannot use the spool file {self.path}: {error}") from None


class CameraSpool:
    """One camera's records. One thread appends; any may read and delete.

    Attributes:
        epoch: the camera's numbering, made when the spool first saw the camera.
        next_sequence: what the next record must be called.
        unusable: the highest sequence that neither the cloud has nor the spool: no record may lean on it.
    """

    def __init__(self, spool: Spool, name: str, row: int, epoch: int, next_sequence: int) -> None:
        self._spool, self.name, self._row = spool, name, row
        self.epoch = epoch
        self.next_sequence = next_sequence
        self.unusable = 0
        self._since_alone = self._bytes_since_alone = 0
        self._persisted: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)

    def needs_stand_in(self) -> bool:
        """Whether the next record, if it is a P record, must come with a stand-in: many wait, and none stands alone."""
        share = STAND_IN_SHARE * self._spool.room.max_bytes
        if self._bytes_since_alone >= share and self.waiting_bytes >= share:
            return True
        if self._since_alone < STAND_IN_RECORDS:
            return False
        with self._spool._reading() as connection:
            first = first_waiting(connection, self._row)
        return first is not None and first <= self.next_sequence - STAND_IN_RECORDS

    def append(self, sequence: int, header: bytes | None, record: bytes, stand_in: bytes | None = None) -> None:
        """Keeps a packed record; on return it survives a power cut.

        Args:
            sequence: must be ``next_sequence``.
            header: the packed stream header that holds from this record on; None: the last one still does.
            stand_in: the same frame as an I record, in case that a P record loses the one before it.

        Raises:
            ReferenceMissingError: the record leans on one that will never reach the cloud; code the frame alone.
            SpoolFullError: there is no room, and the policy makes none; the sequence is not used up.
            SpoolError: the disk failed; likewise.
        """
        if sequence != self.next_sequence:
            raise ValueError(f"record {sequence} does not follow: the next is {self.next_sequence}")
        spool = self._spool
        alone, size = stands_alone(record), len(record) + len(stand_in or b"")
        with spool._writing(spool._durable) as connection:
            dropped = spool.room.make(connection, spool._bytes, size)
            if not alone and sequence - 1 <= max(self.unusable, dropped.last.get(self.name, 0)):
                raise ReferenceMissingError(
                    f"record {sequence} of {self.name} leans on record {sequence - 1}, which is dropped"
                )
            if header is not None:
                connection.execute("INSERT INTO header VALUES (?, ?, ?)", (self._row, sequence, header))
            connection.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?)", (self._row, sequence, spool._clock.now_us(), record)
            )
            if stand_in is not None:
                connection.execute("INSERT INTO stand_in VALUES (?, ?, ?)", (self._row, sequence, stand_in))
            connection.execute(
                "UPDATE camera SET next_sequence = ?, bytes = bytes + ? WHERE id = ?", (sequence + 1, size, self._row)
            )
        # Only this thread writes these; the sum is shared and so counted under the lock.
        self.next_sequence = sequence + 1
        if alone or stand_in is not None:
            self._since_alone = self._bytes_since_alone = 0
        else:
            self._since_alone, self._bytes_since_alone = self._since_alone + 1, self._bytes_since_alone + size
        with spool._lock:
            spool._bytes += size
        spool._settle(dropped)

    def read(self, after: int, max_records: int, max_bytes: int) -> Batch | None:
        """The first records after a sequence that share a header, at least one however large; None if there is none."""
        with self._spool._reading() as connection:
            first = connection.execute(
                "SELECT sequence FROM record WHERE camera = ? AND sequence > ? ORDER BY sequence LIMIT 1",
                (self._row, after),
            ).fetchone()
            if first is None:
                return None
            (header,) = connection.execute(
                "SELECT content FROM header WHERE camera = ? AND first_sequence <= ?"
                " ORDER BY first_sequence DESC LIMIT 1",
                (self._row, *first),
            ).fetchone()
            rows = connection.execute(
                "SELECT sequence, content FROM record WHERE camera = :camera AND sequence >= :first AND sequence <"
                " coalesce((SELECT min(first_sequence) FROM header WHERE camera = :camera AND first_sequence > :first),"
                " 1 << 62) ORDER BY sequence LIMIT :count",
                {"camera": self._row, "first": first[0], "count": max_records},
            )
            records: list[tuple[int, bytes]] = []
            size = 0
            for sequence, content in rows:
                size += len(content)
                if records and size > max_bytes:
                    break
                records.append((sequence, content))
            rows.close()
            return Batch(header, records)

    def holds(self, sequence: int) -> bool:
        """Whether the record is still here."""
        with self._spool._reading() as connection:
            query = "SELECT 1 FROM record WHERE camera = ? AND sequence = ?"
            return connection.execute(query, (self._row, sequence)).fetchone() is not None

    @property
    def waiting_bytes(self) -> int:
        """Size of the camera's records that wait."""
        with self._spool._reading() as connection:
            (size,) = connection.execute("SELECT bytes FROM camera WHERE id = ?", (self._row,)).fetchone()
            return int(size)

    def empty(self) -> bool:
        """Whether no record waits."""
        return self.read(0, 1, 0) is None

    def last_persisted(self) -> int:
        """Highest persisted sequence that no record waits below; 0 for none."""
        with self._spool._reading() as connection:
            (sequence,) = connection.execute(
                "SELECT min(last_persisted, coalesce((SELECT min(sequence) - 1 FROM record WHERE camera = id),"
                " last_persisted)) FROM camera WHERE id = ?",
                (self._row,),
            ).fetchone()
            return int(sequence)

    def persisted(self, first: int, last: int) -> None:
        """The cloud holds these records: they may go."""
        self._delete(first, last, last)

    def rejected(self, first: int, last: int) -> None:
        """The cloud will never take these records: they may go."""
        self._delete(first, last, 0)
        self.unusable = max(self.unusable, last)

    def mend(self, after: int) -> None:
        """The cloud lacks the record ``after``, so the next one that waits must stand alone; those that cannot go, and
        are counted as rejected for it.
        """
        spool, dropped = self._spool, Dropped()
        with spool._writing(spool._relaxed) as connection:
            gone = mend(connection, self._row, after)
        dropped.counts[self.name, "rejected_reference_missing"] = gone.records
        dropped.bytes, dropped.last[self.name] = gone.bytes, gone.last
        spool._settle(dropped)

    def detected(self, sequence: int) -> None:
        """The cloud found something in this frame, which it has persisted; only the policy ``thin`` asks."""
        spool = self._spool
        # The time of the last record of its acknowledgement.
        index = bisect_left(self._persisted, (sequence, 0))
        if spool.room.policy == "thin" and index < len(self._persisted):
            with spool._writing(spool._relaxed) as connection:
                connection.execute(
                    "INSERT INTO detection VALUES (:camera, :us) ON CONFLICT DO UPDATE SET spooled_us = :us",
                    {"camera": self._row, "us": self._persisted[index][1]},
                )

    def last_detection_us(self) -> int:
        """When the newest frame in which the cloud found something was spooled, in microseconds since 1970; 0 if none
        is known.
        """
        with self._spool._reading() as connection:
            row = connection.execute("SELECT spooled_us FROM detection WHERE camera = ?", (self._row,)).fetchone()
            return int(row[0]) if row is not None else 0

    def _delete(self, first: int, last: int, persisted: int) -> None:
        spool = self._spool
        with spool._writing(spool._relaxed) as connection:
            newest = connection.execute(
                "SELECT sequence, spooled_us FROM record WHERE camera = ? AND sequence BETWEEN ? AND ?"
                " ORDER BY sequence DESC LIMIT 1",
                (self._row, first, last),
            ).fetchone()
            gone = delete(connection, self._row, first, last)
            connection.execute(
                "UPDATE camera SET last_persisted = max(last_persisted, ?) WHERE id = ?", (persisted, self._row)
            )
        if newest is not None and persisted:
            self._persisted.append(newest)
        with spool._lock, spool._reporting():
            spool._bytes -= gone.bytes
            shrink(spool._relaxed)
