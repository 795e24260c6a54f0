"""The one place where files are replaced: whole or not at all, whenever the process or the machine stops.

The content is written to a temporary file beside the target, ``.<name>.part``, waited for on the disk, and renamed onto
the target. A temporary file is locked while it is written. So one that a killed process left behind can be told from
that of another writer, and the next write of the same target deletes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from icm.folders import make_folder, sync_folder

_LONGEST_STEM = 200
"""Bytes of the target's name in that of the temporary file, which may have 255."""
_MOST_LINKS = 40
"""As many as the kernel follows."""

_unfinished: set[Path] = set()


def write_atomically(path: Path, content: bytes | str, *, private: bool = False) -> None:
    """Writes a whole file; text as UTF-8. See ``atomic_writer``.

    Raises:
        OSError: the file cannot be written; what was there is still there.
    """
    with atomic_writer(path, private=private) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_writer(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` when the block ends, and is deleted if the block fails.

    It is on the disk, under its name, when the ``with`` statement is left. Links are followed, missing folders made. A
    file that is replaced keeps its permissions.

    Args:
        path: the file to write.
        private: whether only the owner may read the file, from its first byte on.

    Raises:
        OSError: the file cannot be written, or ``path`` is no regular file; what was there is still there, unless
            it was the folder alone that the disk failed to take.
    """
    place = _followed(path)
    kept = _kept_mode(place)
    mode = 0o600 if private else kept
    make_folder(place.parent)
    temporary, descriptor = _new_temporary(place, 0o666 if mode is None else mode)
    try:
        with open(descriptor, "wb") as file:
            if mode is not None and mode != stat.S_IMODE(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, mode)  # the umask took some of it away
            yield file
            file.flush()
            os.fsync(descriptor)
            # Before it is closed: the lock says that the temporary file is no leftover.
            os.replace(temporary, place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        _unfinished.discard(temporary)
    # A folder that may be written to but not read cannot be waited for.
    with suppress(PermissionError):
        sync_folder(place.parent)


@contextmanager
def scratch_file() -> Iterator[Path]:
    """An empty file of its own where the system keeps such files; deleted at the end."""
    path = Path(tempfile.gettempdir()) / f".icm-{os.urandom(8).hex()}.part"
    os.close(_create(path, 0o600))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        _unfinished.discard(path)


def delete_unfinished() -> None:
    """Deletes what this process is writing, before it ends without unwinding."""
    for path in tuple(_unfinished):
        with suppress(OSError):
            path.unlink()


def _followed(path: Path) -> Path:
    """Where the links lead that the path's last name begins; one that leads back to itself is a link still.

    The folders before it are left to the kernel. One that is reached through ``/proc/self/fd``, such as a disk that was
    unmounted in use, is another than that link's text says.
    """
    for _ in range(_MOST_LINKS):
        try:
            path = path.parent / os.readlink(path)
        except OSError:  # no link, or nothing there
            break
    return path


def _kept_mode(place: Path) -> int | None:
    """The permissions of the file that is to be replaced; None if there is none.

    Raises:
        OSError: what is there is no regular file.
    """
    try:
        found = place.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        code = errno.EISDIR if stat.S_ISDIR(found) else errno.ELOOP if stat.S_ISLNK(found) else errno.EEXIST
        raise OSError(code, "it is there already, and is no regular file", str(place))
    return stat.S_IMODE(found)


def _new_temporary(place: Path, mode: int) -> tuple[Path, int]:
    """A new, locked file beside the place, and its descriptor.

    It has the usual name, or a random one while another writer of the same file has that.
    """
    stem = os.fsencode(place.name)[:_LONGEST_STEM].decode(errors="ignore")
    usual = place.with_name(f".{stem}.part")
    _delete_leftover(usual)
    with suppress(FileExistsError):
        descriptor = _create(usual, mode)
        # In between another writer may have taken it for a leftover.
        if _try_lock(descriptor) is not _Lock.TAKEN and _is_at(descriptor, usual):
            return usual, descriptor
        _unfinished.discard(usual)
        os.close(descriptor)
    other = place.with_name(f".{stem}.{secrets.token_hex(4)}.part")
    return other, _create(other, mode)


def _delete_leftover(temporary: Path) -> None:
    """Deletes a temporary file that no living process writes; one that cannot be opened or deleted stays."""
    with suppress(OSError):
        # A link or a pipe that somebody put there is neither followed nor waited for.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if _try_lock(descriptor) is _Lock.HELD and _is_at(descriptor, temporary):
                temporary.unlink()
        finally:
            os.close(descriptor)


def _create(path: Path, mode: int) -> int:
    _unfinished.add(path)  # before it is there: a signal may come as soon as it is
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError:
        _unfinished.discard(path)
        raise


class _Lock(Enum):
    """What came of an attempt to lock a file; UNKNOWN where the file system has no locks."""

    HELD = auto()
    TAKEN = auto()
    UNKNOWN = auto()


def _try_lock(descriptor: int) -> _Lock:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _Lock.TAKEN
    except OSError:
        return _Lock.UNKNOWN
    return _Lock.HELD


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
