"""How far each camera's numbering got, in a small file beside the spool's.

It tells that the spool went back in time: a journal that lost its end is sound for SQLite, and so is a copy of last
week, but the sequences that come next were given to other frames already.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import google_crc32c

from edge_service.spool.folder import FILE_NAME
from icm.errors import SpoolError

MARKS_NAME = "spool.marks"

_MARK = struct.Struct("<64sQQ")
_CRC = struct.Struct("<I")
_SLOT_BYTES = 128
"""Of a camera's mark; each is written anew in its place."""
_THE_FILE = ""
"""In a camera's place, for the mark that says which file the marks are about."""


class HighWaterMark(NamedTuple):
    """A camera's epoch, and the first sequence of it that was not given away."""

    epoch: int
    next_sequence: int


class HighWaterMarks:
    """The marks of one spool. Thread-safe.

    Attributes:
        copied: whether the spool's file, as it was found, is another than the marks are about.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the marks of a folder's spool, and makes the file where there is none.

        Raises:
            SpoolError: the file cannot be read or written.
        """
        self._spool = folder / FILE_NAME
        self._lock = Lock()
        self._marks: dict[str, HighWaterMark] = {}
        self._slots: dict[str, int] = {}
        path = folder / MARKS_NAME
        with ExitStack() as opened:
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                opened.callback(os.close, self._descriptor)
                if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    raise OSError(errno.EINVAL, "it is no regular file")
                size = os.fstat(self._descriptor).st_size
                self._free = -(-size // _SLOT_BYTES)
                for slot in range(size // _SLOT_BYTES):
                    self._load(slot)
                known = self._marks.get(_THE_FILE)
                self.copied = known is not None and self._spool.exists() and self._spool.stat().st_ino != known.epoch
            except OSError as error:
                raise SpoolError(
                    f"cannot use the spool's marks {path}: {error.strerror}; give icm-edge its own file back, or take"
                    " this one away for a new one, which cannot tell whether the spool went back in time"
                ) from None
            opened.pop_all()

    def went_back(self, camera: str, epoch: int, next_sequence: int) -> bool:
        """Whether a camera's numbering, as the spool has it, was further once."""
        mark = self._marks.get(camera)
        return mark is not None and (epoch, next_sequence) < mark

    def lost(self, camera: str, epoch: int, next_sequence: int) -> int:
        """How many sequences were given away that the spool knows nothing of."""
        mark = self._marks.get(camera)
        return max(0, mark.next_sequence - next_sequence) if mark is not None and mark.epoch == epoch else 0

    def missing(self, known: set[str]) -> dict[str, int]:
        """Sequences that were given away to cameras beside the known ones, by camera; it says so once only."""
        found = {
            camera: mark.next_sequence - 1
            for camera, mark in self._marks.items()
            if camera not in known | {_THE_FILE} and mark.next_sequence > 1
        }
        for camera in found:
            self.note(camera, self._marks[camera].epoch, 1)
        return found

    def least_epoch(self, camera: str) -> int:
        """The first epoch that the camera has not had."""
        return self._marks[camera].epoch + 1 if camera in self._marks else 0

    def note(self, camera: str, epoch: int, next_sequence: int) -> None:
        """Writes a camera's mark, before a sequence below it is given out. It outlives this process; a power cut
        may cost it, or a disk that is full, but then the spool itself has lost nothing.
        """
        mark = _MARK.pack(camera.encode(), epoch, next_sequence)
        with self._lock, suppress(OSError):
            self._marks[camera] = HighWaterMark(epoch, next_sequence)
            if camera not in self._slots:
                self._slots[camera], self._free = self._free, self._free + 1
            packed = mark + _CRC.pack(google_crc32c.value(mark))
            os.pwrite(self._descriptor, packed.ljust(_SLOT_BYTES, b"\0"), self._slots[camera] * _SLOT_BYTES)

    def note_file(self) -> None:
        """From here on the marks are about the file that lies there now."""
        self.note(_THE_FILE, self._spool.stat().st_ino, 0)

    def close(self) -> None:
        with suppress(OSError):
            os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _load(self, slot: int) -> None:
        packed = os.pread(self._descriptor, _MARK.size + _CRC.size, slot * _SLOT_BYTES)
        mark = packed[: _MARK.size]
        if packed[_MARK.size :] != _CRC.pack(google_crc32c.value(mark)):
            return
        name, epoch, next_sequence = _MARK.unpack(mark)
        camera = name.rstrip(b"\0").decode(errors="replace")
        self._marks[camera], self._slots[camera] = HighWaterMark(epoch, next_sequence), slot
