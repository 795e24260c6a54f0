"""The folder that a spool lies in: whether it can be used, and that one process at a time does."""

from __future__ import annotations

import os
from pathlib import Path

from icm.errors import ConfigError, SpoolError
from icm.service.owner_lock import OwnerLock

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


def lock_folder(folder: Path) -> OwnerLock:
    """Keeps other processes out, who would use the same sequences twice.

    Raises:
        SpoolError: the folder cannot be used, or another process uses it.
    """
    return OwnerLock(folder / LOCK_NAME, f"the spool folder {folder}", "icm-edge", SpoolError)
