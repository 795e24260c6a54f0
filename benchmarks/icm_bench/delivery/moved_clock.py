"""The wall clock of another Python process, moved while it runs. Its monotonic clock goes on as it was."""

from __future__ import annotations

import os
from pathlib import Path

from icm.atomic_file import write_atomically

_STARTUP = Path(__file__).parent / "moved_clock_startup"


class MovedClock:
    """For a Python process that is started with ``environment``."""

    def __init__(self, file: Path) -> None:
        """Creates a clock that is not moved yet.

        Args:
            file: made here; the process reads from it how far its clock is moved.
        """
        self._file = file
        self.jump(0.0)

    @property
    def environment(self) -> dict[str, str]:
        """What the process needs: Python imports ``sitecustomize`` from there before anything else."""
        path = os.pathsep.join(filter(None, (str(_STARTUP), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "MOVED_CLOCK_FILE": str(self._file)}

    def jump(self, seconds: float) -> None:
        """Sets how far the process's clock is ahead of the machine's."""
        write_atomically(self._file, f"{round(seconds * 1e9)}\n")
