"""A small disk of its own that can be filled to the last byte: a tmpfs, which only root may mount."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_BALLAST = "ballast"
_LARGEST_PIECE = 1 << 20


class SmallDisk:
    """Mounted at ``folder`` between ``mount`` and ``unmount``. Elsewhere than on Linux as root it cannot be mounted,
    and ``folder`` is a folder like any other.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self._megabytes = folder, megabytes
        self.mounted = False

    def mount(self) -> bool:
        """Makes the folder; whether it is a disk of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m", "tmpfs", str(self.folder)]
        with suppress(OSError):
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        return self.mounted

    def unmount(self) -> None:
        """What it holds is gone."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
            self.mounted = False

    def fill(self) -> None:
        """Takes all the room that is left."""
        with (self.folder / _BALLAST).open("ab") as ballast:
            size, piece = ballast.tell(), _LARGEST_PIECE
            while piece:
                try:
                    os.posix_fallocate(ballast.fileno(), size, piece)
                    size += piece
                except OSError:
                    piece //= 2

    def free(self) -> None:
        """Gives the room back."""
        (self.folder / _BALLAST).unlink()
