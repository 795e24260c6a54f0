"""Files that survive a power cut: what a new file needs besides its own fsync, and what the disk's refusals mean."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from icm.errors import StorageError, StorageFullError


def storage_error(error: OSError, path: Path | str) -> StorageError:
    """The project's error for what the operating system said about a path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"no space left to write {path}: free some, or move the folder to a larger disk")
    return StorageError(f"cannot use {path}: {error.strerror or error}; check the folder's permissions and the disk")


def make_folder(folder: Path) -> None:
    """Creates the folder and its parents; each new name is on the disk when this returns.

    Raises:
        OSError: a folder cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Waits until the names in the folder are on the disk.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Writes a whole file under a temporary name, then renames it, so that it is there entirely or not at all.

    Raises:
        OSError: the disk refused; nothing is left behind.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
