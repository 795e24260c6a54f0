"""The audit log: who did what and when, in files of its own, each line naming the one before by its digest.

A line is ASCII, its words apart by single spaces::

    icm-audit-1 <number> <us> <who> <address> <action> <object> <previous>

``previous`` is SHA-256 of the line before, as it stands there, or zeros in the first; texts are quoted as in URLs. So a
line that is changed, taken out or put in breaks the chain at that place, and who noted its newest digest elsewhere sees
a log that was cut or written anew. A file holds a month.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from icm.errors import NotFoundError, ProofError, StorageError, storage_error
from icm.folders import make_folder, sync_folder
from icm.service.clock import Clock

log = logging.getLogger(__name__)
TAG = "icm-audit-1"
FOLDER = "audit"
NOTHING_BEFORE = "0" * 64
_LOCK_NAME = "lock"
_FILE = re.compile(r"\d{4}-\d{2}\.log")
_CURSOR = re.compile(r"(\d{4}-\d{2})-(\d{1,15})")
_MONTHS_KEPT = 13
"""Files at least: the months of a year, and the one that goes on."""
_UNKNOWN = "-"
_MOST_TEXT = 300
_MOST_LINE = 8 << 10


@dataclass(frozen=True)
class AuditEntry:
    """What was done.

    Attributes:
        number: from 1 on.
        at_us: when, microseconds since 1970.
        who: name of the account; of a token with its id; empty where nobody is known.
        address: where it came from; empty for a command on the machine itself.
        action: what, such as ``log-in``.
        about: to what or whom; may be empty.
        previous: digest of the line before, in hexadecimal.
    """

    number: int
    at_us: int
    who: str
    address: str
    action: str
    about: str
    previous: str

    def line(self) -> bytes:
        """As the log has it, without the line's end."""
        texts = (quote(each[:_MOST_TEXT], safe="@:") or _UNKNOWN for each in (self.who, self.address))
        about = quote(self.about[:_MOST_TEXT], safe="@:") or _UNKNOWN
        return " ".join((TAG, str(self.number), str(self.at_us), *texts, self.action, about, self.previous)).encode()

    @staticmethod
    def of(line: bytes) -> AuditEntry:
        """Reads what ``line`` wrote.

        Raises:
            ProofError: it is something else.
        """
        try:
            tag, number, at_us, who, address, action, about, previous = line.decode("ascii").split(" ")
            texts = ("" if each == _UNKNOWN else unquote(each) for each in (who, address, about))
            known = dict(zip(("who", "address", "about"), texts, strict=True))
            entry = AuditEntry(number=int(number), at_us=int(at_us), action=action, previous=previous, **known)
        except ValueError:
            raise ProofError(f"this line is none of an audit log: {line[:200]!r}") from None
        if tag != TAG or entry.line() != line:
            raise ProofError(f"this line is none of an audit log: {line[:200]!r}")
        return entry


@dataclass(frozen=True)
class AuditPage:
    """Entries, the newest first.

    Attributes:
        entries: of the log.
        older: where the page before begins; empty where there is none.
    """

    entries: list[AuditEntry]
    older: str


@dataclass(frozen=True)
class AuditHead:
    """The newest entry.

    Attributes:
        number: of it; 0 where there is none.
        digest: SHA-256 of its line, in hexadecimal.
    """

    number: int
    digest: str


class AuditLog:
    """Writes and reads the log. Thread-safe; several processes may write one."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Makes the folder.

        Args:
            folder: of the viewer.
            clock: tells when things are done.

        Raises:
            StorageError: the folder cannot be made.
        """
        self._folder, self._clock = folder / FOLDER, clock
        self._lock = threading.Lock()
        try:
            make_folder(self._folder)
        except OSError as error:
            raise storage_error(error, self._folder) from None

    def write(self, who: str, address: str, action: str, about: str = "") -> AuditEntry:
        """Adds an entry, which is on the disk when this returns.

        Args:
            who: name of the account.
            address: where it came from.
            action: what was done.
            about: to what or whom.

        Raises:
            StorageError: the disk refused.
            ProofError: the log's last line is damaged.
        """
        now = self._clock.now_us()
        try:
            with self._lock, self._locked():
                files = self._files()
                last = _last_line(files[-1]) if files else None
                number, previous = 1, NOTHING_BEFORE
                if last is not None:
                    number, previous = AuditEntry.of(last).number + 1, _digest(last)
                entry = AuditEntry(number, now, who, address, action, about, previous)
                name = f"{datetime.fromtimestamp(now / 1e6, UTC):%Y-%m}.log"
                # A clock that was set back does not write into a file that is done with.
                path = self._folder / max(name, files[-1].name if files else name)
                _append(path, entry.line() + b"\n")
                if path not in files:
                    sync_folder(self._folder)
                    self._delete_old([*files, path])
        except OSError as error:
            raise storage_error(error, self._folder) from None
        return entry

    def page(self, cursor: str = "", count: int = 100) -> AuditPage:
        """Some entries, the newest first.

        Args:
            cursor: ``older`` of the page before; empty for the newest ones.
            count: how many at most.

        Raises:
            NotFoundError: the cursor is none.
            StorageError: the disk cannot be read.
            ProofError: a line is damaged.
        """
        try:
            return self._page(cursor, count)
        except OSError as error:
            raise storage_error(error, self._folder) from None

    def verify(self) -> AuditHead:
        """Checks the whole log; returns its newest entry's digest, to be compared with one noted elsewhere.

        Raises:
            ProofError: the chain is broken; names the line.
            StorageError: the disk cannot be read.
        """
        number, previous = None, ""
        try:
            for path in self._files():
                with path.open("rb") as file:
                    for count, line in enumerate(file, 1):
                        if not line.endswith(b"\n"):
                            break
                        entry, place = AuditEntry.of(line[:-1]), f"{path.name}, line {count}"
                        if number is not None and (entry.number, entry.previous) != (number + 1, previous):
                            raise ProofError(f"{place}: it does not follow what stands before it: a line was changed,"
                                             " taken out or put in")  # fmt: skip
                        number, previous = entry.number, _digest(line[:-1])
        except OSError as error:
            raise storage_error(error, self._folder) from None
        return AuditHead(number or 0, previous or NOTHING_BEFORE)

    def _page(self, cursor: str, count: int) -> AuditPage:
        files, end = self._files(), None
        if cursor:
            found = _CURSOR.fullmatch(cursor)
            path = self._folder / f"{found[1]}.log" if found else None
            if found is None or path not in files:
                raise NotFoundError("there is no such page of the audit log: begin with the newest")
            files, end = files[: files.index(path) + 1], int(found[2])
        entries: list[AuditEntry] = []
        while files and len(entries) < count:
            path = files.pop()
            for line, start in _lines_backwards(path, end):
                entries.append(AuditEntry.of(line))
                if len(entries) == count:
                    return AuditPage(entries, f"{path.stem}-{start}" if start or files else "")
            end = None
        return AuditPage(entries, "")

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if _FILE.fullmatch(path.name))

    def _delete_old(self, files: list[Path]) -> None:
        for path in sorted(files)[:-_MONTHS_KEPT]:
            log.info("deleting %s: the audit log is kept for a year", path)
            path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        # What a crash left of a line goes.
        end = _whole(descriptor, size)
        if end != size:
            os.ftruncate(descriptor, end)
        written = os.pwrite(descriptor, line, end)
        if written != len(line):
            os.ftruncate(descriptor, end)
            raise StorageError(f"no space left to write {path}: free some, or move the folder to a larger disk")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(descriptor: int, size: int) -> int:
    """Where the last whole line ends."""
    start = max(0, size - _MOST_LINE)
    return start + os.pread(descriptor, size - start, start).rfind(b"\n") + 1


def _last_line(path: Path) -> bytes | None:
    """The last whole line of a file; None where there is none."""
    for line, _ in _lines_backwards(path, None):
        return line
    return None


def _lines_backwards(path: Path, end: int | None) -> Iterator[tuple[bytes, int]]:
    """The whole lines of a file before a place, the last first, each with the place where it begins.

    Raises:
        NotFoundError: no line ends at that place.
        ProofError: a line is longer than any can be.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = _whole(file.fileno(), size) if end is None else end
        if end > size or (end and os.pread(file.fileno(), 1, end - 1) != b"\n"):
            raise NotFoundError("there is no such page of the audit log: begin with the newest")
        while end:
            start = max(0, end - 16 * _MOST_LINE)
            lines = os.pread(file.fileno(), end - start, start).split(b"\n")[:-1]
            if start and len(lines) == 1:
                raise ProofError(f"{path} is damaged: it has a line that is too long")
            for line in reversed(lines[1:] if start else lines):
                end -= len(line) + 1
                yield line, end


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
