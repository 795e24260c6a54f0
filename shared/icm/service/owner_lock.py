"""What belongs to one process, a spool, a record store, a database: taken before anything of it is read, and refused by
name to every other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from icm.errors import IcmError

_MARK_BYTES = 256


class OwnerLock:
    """Holds something by a locked file. The kernel lets go when this process dies, however it does."""

    def __init__(self, path: Path, what: str, owner: str, error: type[IcmError]) -> None:
        """Takes it; makes the folder if need be.

        Args:
            path: of the file that is locked; it says who holds it.
            what: is held, such as ``the spool folder /data/edge``.
            owner: the command that this is, such as ``icm-edge``.
            error: what is raised.

        Raises:
            IcmError: of the kind ``error``: the folder cannot be used, or another process holds it.
        """
        self._path, self._what, self._owner, self._error = path, what, owner, error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as problem:
            raise error(f"cannot use {what}: {problem.strerror}") from None
        try:
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise

    def check(self) -> None:
        """Checks that the lock at this path is still the one that was taken.

        Raises:
            IcmError: the file at this path is another one by now, or was taken by a process that the kernel here does
                not know of, as on a volume that several machines mount.
        """
        try:
            found, taken = os.stat(self._path), os.fstat(self._descriptor)
            ours = (found.st_dev, found.st_ino) == (taken.st_dev, taken.st_ino)
            ours = ours and os.pread(self._descriptor, _MARK_BYTES, 0) == self._mark
        except OSError:
            ours = False
        if not ours:
            raise self._error(
                f"{self._what} is not the one any more that this {self._owner} took: it was replaced, or another"
                f" {self._owner} took it; see to it that one process uses it, and restart"
            )

    def release(self) -> None:
        """Lets others take it."""
        os.close(self._descriptor)

    def _take(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise self._error(
                    f"cannot lock {self._what}: {problem.strerror}; keep it where files can be locked"
                ) from None
            holder = os.pread(self._descriptor, _MARK_BYTES, 0).decode(errors="replace").partition(",")[0]
            raise self._error(
                f"{self._what} is in use by another {self._owner} ({holder or 'which does not say who'}): give each its"
                " own, or stop that one first"
            ) from None
        # The last word is for `check` alone: on another machine of this name a process may have this number too.
        mark = f"process {os.getpid()} on {socket.gethostname()}, {secrets.token_hex(8)}".encode()[:_MARK_BYTES]
        # A disk too full for the mark must keep nobody from starting: what waits there may be what is to go.
        with suppress(OSError):
            os.pwrite(self._descriptor, mark.ljust(_MARK_BYTES), 0)
        self._mark = os.pread(self._descriptor, _MARK_BYTES, 0)
