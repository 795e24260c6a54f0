"""The folder that a spool lies in: whether it can be used, and that one process at a time does."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from shared.errors import ConfigError, SpoolError

FILE_NAME = "spool.sqlite"
LOCK_NAME = "spool.lock"


def check_folder(folder: Path) -> None:
    """Finds out whether a spool can be kept there; changes nothing, as another process may use it now.

    Raises:
        ConfigError: it cannot.
    """
    ground = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    file = folder / FILE_NAME
    if not ground.is_dir():
        problem = f"{ground} is no folder"
    elif not os.access(ground, os.W_OK | os.X_OK):
        problem = f"{ground} cannot be written"
    elif file.exists() and not os.access(file, os.R_OK | os.W_OK):
        problem = f"{file} cannot be read and written"
    else:
        return
    raise ConfigError(f"cannot keep a spool in {folder}: {problem}; change its permissions or set spool.folder")


def lock_folder(folder: Path) -> int:
    """Keeps other processes out, who would use the same sequences twice. The kernel lets go when this process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SpoolError(f"cannot use the spool folder {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SpoolError(f"the spool folder {folder} is in use by another icm-edge: give each its own") from None
    return descriptor
