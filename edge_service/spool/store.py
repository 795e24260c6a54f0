"""The spool: records on disk until the cloud has persisted them.

One SQLite file per edge. It also keeps each camera's epoch and next sequence for ever: a sequence that was once used
must never name another frame, whatever crashes, because the cloud keeps the first record that it gets by that name.
Where the file went back in time, by a copy or a lost journal, a new epoch begins.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.folder import FILE_NAME, lock_folder
from edge_service.spool.marks import Marks
from edge_service.spool.quota import Dropped, Policy, Room, oldest
from edge_service.spool.repair import repair
from edge_service.spool.schema.upgrade import check_not_newer, upgrade
from icm.errors import SpoolError, SpoolFullError
from icm.service.clock import Clock

_log = logging.getLogger(__name__)

OnDrop = Callable[[str, str, int], None]
"""Told camera, reason (``spool_full``, ``spool_thinned``, ``spool_aged``, ``spool_damaged`` or ``spool_format``) and
number of records that are lost."""


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
            SpoolError: the folder cannot be used, another process uses it, or a newer icm-edge has used it.
        """
        self.path = folder / FILE_NAME
        self.room = Room(self.path, max_bytes, max_age_seconds, policy, recent_seconds, clock)
        self._clock, self._on_drop = clock, on_drop
        self._lock = threading.Lock()
        self._owner = lock_folder(folder)
        self._bytes: int
        self._cameras: dict[str, CameraSpool] = {}
        try:
            with self._reporting():
                check_not_newer(self.path)
                self._marks = Marks(folder)
                for (camera, reason), count in repair(self.path).items():
                    on_drop(camera, reason, count)
                # Before the journal's mode is set, after which SQLite takes no other kind of vacuum.
                with closing(sqlite3.connect(self.path)) as connection:
                    upgrade(connection)
                # Appends must survive a power cut before they are sent. Deletions need not: a record that comes back
                # is sent again, and the cloud knows it already.
                self._durable = self._connect("FULL")
                self._relaxed = self._connect("NORMAL")
                (self._bytes,) = self._durable.execute("SELECT coalesce(sum(bytes), 0) FROM camera").fetchone()
            self._leave_what_went_back()
        except OSError as error:
            self._owner.release()
            raise SpoolError(f"cannot repair the spool file {self.path}: {error.strerror}") from None
        except SpoolError:
            self._owner.release()
            raise

    def close(self) -> None:
        with self._lock:
            self._durable.close()
            self._relaxed.close()
            self._marks.close()
            self._owner.release()

    def camera(self, name: str) -> CameraSpool:
        """The part of one camera; made, with a new epoch, at the first call ever.

        Always the same object for the same name: encoder and uplink must agree on the next sequence.
        """
        if name in self._cameras:
            return self._cameras[name]
        with self._reading() as connection:
            row = connection.execute("SELECT id, epoch, next_sequence FROM camera WHERE name = ?", (name,)).fetchone()
        if row is None:
            epoch = max(self._clock.now_us(), self._marks.least_epoch(name))
            with self._writing(self._durable) as connection:
                cursor = connection.execute("INSERT INTO camera VALUES (NULL, ?, ?, 1, 0, 0)", (name, epoch))
                row = (cursor.lastrowid, epoch, 1)
            self._marks.note(name, epoch, 1)
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

    def _leave_what_went_back(self) -> None:
        """Begins a new epoch for every camera whose numbering was further once than the file says."""
        with self._reading() as connection:
            rows = connection.execute("SELECT name, epoch, next_sequence FROM camera").fetchall()
        for name, lost in self._marks.missing({name for name, _, _ in rows}).items():
            # When it comes again, it is with a new epoch.
            self._tell_of_lost(name, "it knows nothing of the camera", lost)
        for name, epoch, next_sequence in rows:
            if self._marks.copied or self._marks.went_back(name, epoch, next_sequence):
                lost = self._marks.lost(name, epoch, next_sequence)
                self.camera(name).begin_epoch()
                self._tell_of_lost(name, "it is a copy" if self._marks.copied else "its journal lost its end", lost)
        self._marks.note_file()

    def _tell_of_lost(self, camera: str, why: str, count: int) -> None:
        _log.error(
            "camera %s: the spool %s went back in time, %s: a new epoch begins, %d records are lost at most",
            camera,
            self.path,
            why,
            count,
        )
        if count:
            self._on_drop(camera, "spool_damaged", count)

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
        self._owner.check()
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
