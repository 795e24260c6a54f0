"""The wall clock of another process, moved while it runs. Its monotonic clock goes on as it was."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_LIBRARY = "vendor/libfaketime/src/libfaketime.so.1"


class MovedClock:
    """For a process that is started with ``environment``."""

    def __init__(self, file: Path) -> None:
        """Args: file, made here, through which the process is told."""
        self._file, self._library = file, _library()
        self.jump(0.0)

    @property
    def environment(self) -> dict[str, str]:
        """What the process needs; empty where libfaketime is not installed or of no use."""
        if self._library is None:
            return {}
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: float) -> None:
        """Sets how far the process's clock is ahead of the machine's."""
        part = self._file.with_name(f"{self._file.name}.part")
        part.write_text(f"{seconds:+f}\n")
        part.replace(self._file)


def _library() -> Path | None:
    package = importlib.util.find_spec("libfaketime")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / _LIBRARY
    return path if path.is_file() else None
