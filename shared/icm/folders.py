"""Folders whose names survive a power cut: a name is on the disk once the folder that holds it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path


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


def delete_files(root: Path, paths: Sequence[str], unlinked: Callable[[], None] = lambda: None) -> int:
    """Deletes files, and the folders that are empty then, of which only theirs are looked at; that is on the disk when
    this returns.

    Args:
        root: a folder, which stays, as do those directly in it.
        paths: relative to it.
        unlinked: called between the files and their folders.

    Returns:
        How many were not there.

    Raises:
        OSError: the disk refused.
    """
    absent = 0
    for path in paths:
        try:
            os.unlink(root / path)
        except FileNotFoundError:
            absent += 1
    unlinked()
    for folder in {(root / path).parent for path in paths}:
        with suppress(FileNotFoundError):
            sync_folder(folder)
        while folder not in (root, folder.parent) and folder.parent != root:
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already
                break
            folder = folder.parent
    return absent
