"""The spool: records on disk until the cloud has persisted them.

One SQLite file per edge. It also keeps each camera's epoch and next sequence for ever: a sequence that was once used
must never name another frame, whatever crashes, because the cloud keeps the first record that it gets by that name.
Where the file went back in time, by a copy or a lost journal, a new epoch begins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from edge_service.losses import DropReason
from edge_service.spool.camera_spool import CameraSpool
from edge_service.spool.file import SpoolFile
from edge_service.spool.quota import Dropped, Policy, SpoolQuota, oldest
from icm.errors import SpoolError
from icm.service.clock import Clock

_log = logging.getLogger(__name__)

OnDrop = Callable[[str, DropReason, int], None]
"""Called with camera, reason and number of records that are lost."""


class Spool:
    """The spool of one edge process. Thread-safe; every method may block on the disk."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_age_seconds: float,
        clock: Clock,
        policy: Policy = "block",
        on_drop: OnDrop = lambda camera, reason, count: None,
        recent_seconds: float = 60.0,
    ) -> None:
        """Opens the spool, or makes it; for the bounds see ``SpoolQuota``.

        A damaged file is set aside, and what can be read of it goes on.

        Raises:
            SpoolError: the folder cannot be used, another process uses it, or a newer icm-edge has used it.
        """
        self._file = SpoolFile(folder)
        self._clock, self._on_drop = clock, on_drop
        self.path = self._file.path
        self.room = SpoolQuota(self.path, max_bytes, max_age_seconds, policy, recent_seconds, clock)
        self._cameras: dict[str, CameraSpool] = {}
        try:
            for (camera, reason), count in self._file.lost.items():
                on_drop(camera, reason, count)
            self._leave_what_went_back()
        except OSError as error:
            self._file.close()
            raise SpoolError(f"cannot mark the spool file {self.path}: {error.strerror}") from None
        except SpoolError:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def camera(self, name: str) -> CameraSpool:
        """The part of one camera; made, with a new epoch, at the first call ever.

        Always the same object for the same name: encoder and uplink must agree on the next sequence.
        """
        if name in self._cameras:
            return self._cameras[name]
        with self._file.reading() as connection:
            row = connection.execute("SELECT id, epoch, next_sequence FROM camera WHERE name = ?", (name,)).fetchone()
        if row is None:
            epoch = max(self._clock.now_us(), self._file.marks.least_epoch(name))
            with self._file.writing(durable=True) as connection:
                cursor = connection.execute("INSERT INTO camera VALUES (NULL, ?, ?, 1, 0, 0)", (name, epoch))
                row = (cursor.lastrowid, epoch, 1)
            self._file.marks.note(name, epoch, 1)
        return self._cameras.setdefault(name, self._made(name, *row))

    def _made(self, name: str, row: int, epoch: int, next_sequence: int) -> CameraSpool:
        return CameraSpool(
            name=name,
            row=row,
            epoch=epoch,
            next_sequence=next_sequence,
            file=self._file,
            room=self.room,
            clock=self._clock,
            settle=self._settle,
        )

    def waiting_cameras(self) -> list[str]:
        """Names of the cameras with records that are not persisted yet."""
        with self._file.reading() as connection:
            return [name for (name,) in connection.execute("SELECT name FROM camera WHERE bytes > 0 ORDER BY name")]

    @property
    def bytes(self) -> int:
        """Size of all records that wait."""
        return self._file.bytes

    def oldest_seconds(self) -> float:
        """How long the oldest record has been waiting; 0 if there is none."""
        with self._file.reading() as connection:
            return self.room.age(oldest(connection))

    def _leave_what_went_back(self) -> None:
        """Begins a new epoch for every camera whose numbering was further once than the file says."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT name, epoch, next_sequence FROM camera").fetchall()
        marks = self._file.marks
        for name, lost in marks.missing({name for name, _, _ in rows}).items():
            # When it comes again, it is with a new epoch.
            self._tell_of_lost(name, "it knows nothing of the camera", lost)
        for name, epoch, next_sequence in rows:
            if marks.copied or marks.went_back(name, epoch, next_sequence):
                lost = marks.lost(name, epoch, next_sequence)
                self.camera(name).begin_epoch()
                self._tell_of_lost(name, "it is a copy" if marks.copied else "its journal lost its end", lost)
        marks.note_file()

    def _tell_of_lost(self, camera: str, why: str, count: int) -> None:
        _log.error(
            "camera %s: the spool %s went back in time, %s: a new epoch begins, %d records are lost at most",
            camera,
            self.path,
            why,
            count,
        )
        if count:
            self._on_drop(camera, DropReason.SPOOL_DAMAGED, count)

    def _settle(self, dropped: Dropped) -> None:
        """After the transaction: what went is no longer here, and nothing may refer to it."""
        self._file.resize(-dropped.bytes)
        for name, last in dropped.last.items():
            camera = self.camera(name)
            camera.unusable = max(camera.unusable, last)
        for (name, reason), count in dropped.counts.items():
            if count:
                self._on_drop(name, reason, count)
