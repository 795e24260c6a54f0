"""The spool's file: who may use it, its connections and transactions, and what an error of SQLite means."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from edge_service.spool.folder import FILE_NAME, lock_folder
from edge_service.spool.high_water_marks import HighWaterMarks
from edge_service.spool.records import shrink
from edge_service.spool.repair import repair
from edge_service.spool.schema.upgrade import check_not_newer, upgrade
from icm.errors import SpoolError, SpoolFullError


class SpoolFile:
    """One SQLite file, which this process owns, and the marks beside it. Thread-safe; every method may block on the
    disk.

    Attributes:
        path: of the SQLite file.
        marks: how far each camera's numbering got.
        lost: what a repair at the start could not save.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the file, or makes it. A damaged one is set aside, and what can be read of it goes on.

        Raises:
            SpoolError: the folder cannot be used, or another process uses it.
        """
        self.path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._bytes: int
        with ExitStack() as opened:
            self._open(folder, opened)
            self._opened = opened.pop_all()

    def _open(self, folder: Path, opened: ExitStack) -> None:
        self._owner = lock_folder(folder)
        opened.callback(self._owner.release)
        with self._reporting():
            check_not_newer(self.path)
        self.marks = HighWaterMarks(folder)
        opened.callback(self.marks.close)
        try:
            with self._reporting():
                self.lost = repair(self.path)
                # Before the journal's mode is set, after which SQLite takes no other kind of vacuum.
                with closing(sqlite3.connect(self.path)) as connection:
                    upgrade(connection)
                # Appends must survive a power cut before they are sent. Deletions need not: a record that comes back
                # is sent again, and the cloud knows it already.
                self._durable = self._connect("FULL", opened)
                self._relaxed = self._connect("NORMAL", opened)
                (self._bytes,) = self._durable.execute("SELECT coalesce(sum(bytes), 0) FROM camera").fetchone()
        except OSError as error:
            raise SpoolError(f"cannot repair the spool file {self.path}: {error.strerror}") from None

    def close(self) -> None:
        with self._lock:
            self._opened.close()

    @property
    def bytes(self) -> int:
        """Size of all records that wait, as it was before a transaction under way."""
        return self._bytes

    def resize(self, by: int) -> None:
        """Counts bytes of records that came or, below 0, went, after their transaction."""
        with self._lock:
            self._bytes += by

    def shrink(self) -> None:
        """Gives some of the room that holds nothing back to the disk. Not inside a transaction."""
        with self._lock, self._reporting():
            shrink(self._relaxed)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with.

        Raises:
            SpoolError: the file is damaged, or cannot be used.
        """
        with self._lock, self._reporting():
            yield self._relaxed

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block happens, or nothing.

        Args:
            durable: whether it survives a power cut once the block ends.

        Raises:
            SpoolFullError: the disk is full.
            SpoolError: the file is damaged, cannot be used, or is this process's no more.
        """
        connection = self._durable if durable else self._relaxed
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

    def _connect(self, synchronous: str, opened: ExitStack) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        opened.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

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
