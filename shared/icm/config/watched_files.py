"""Files that are read again when they change, so that a service need not restart for it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from icm.errors import ConfigError

log = logging.getLogger(__name__)
Value = TypeVar("Value")


class WatchedFiles(Generic[Value]):
    """What some files say. Thread-safe."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        """Reads the files for the first time.

        Args:
            read: called now and again after each change of any of the files.

        Raises:
            ConfigError: from ``read``.
        """
        self._paths, self._read = paths, read
        self._lock = threading.Lock()
        # Looked at before reading: what changes while it is read is read once more.
        self._seen = self._look()
        self._value = read()

    def current(self) -> Value:
        """What the files say now; while they cannot be used, what they said last. The same object until a change."""
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._value = self._read()
                    log.info("read anew: %s", self._names)
                except ConfigError as error:
                    # Usual for a moment while one of several files is replaced.
                    log.error("going on with what was read before: %s", error)
            return self._value

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]

    @property
    def _names(self) -> str:
        return ", ".join(str(path) for path in self._paths)


def read_file(path: Path) -> bytes:
    """Returns the file's content.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
