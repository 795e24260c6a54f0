"""What a full spool does with a new record: it refuses it, or lets others go for it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from edge_service.losses import DropReason
from edge_service.spool.records import delete, restart_at_intra
from icm.errors import SpoolFullError
from icm.service.clock import Clock

Policy = Literal["block", "drop_oldest", "keep_detections"]
"""block: the new record is refused, so that cameras wait. drop_oldest: the oldest records go for it. keep_detections:
the oldest of those without recent detections go, and the others only when nothing else is left."""


class _Waiting(NamedTuple):
    """A record that waits, and whose it is."""

    spooled_us: int
    camera: int
    name: str
    sequence: int


@dataclass
class Dropped:
    """What a transaction let go.

    Attributes:
        counts: records, by camera and reason.
        bytes: how many this freed.
        last: by camera, the highest sequence that no later record may refer to.
    """

    counts: Counter[tuple[str, DropReason]] = field(default_factory=Counter)
    bytes: int = 0
    last: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SpoolQuota:
    """The spool's bounds. Each method works inside a transaction, or a read, of its caller.

    Attributes:
        path: of the spool's file, for error texts.
        max_bytes: of all records that wait.
        max_age_seconds: of the oldest.
        recent_seconds: for ``keep_detections``, how long after a frame in which the cloud found something its camera's
            frames are kept before others.
    """

    path: Path
    max_bytes: int
    max_age_seconds: float
    policy: Policy
    recent_seconds: float
    clock: Clock

    def make(self, connection: sqlite3.Connection, all_bytes: int, size: int) -> Dropped:
        """Lets records go, if the policy allows it, until one of this size finds room beside those that wait.

        Raises:
            SpoolFullError: there is no room.
        """
        dropped = Dropped()
        while True:
            held, first = all_bytes - dropped.bytes, oldest(connection)
            if held + size > self.max_bytes:
                reason, bound = DropReason.SPOOL_FULL, "spool.max_bytes"
                state = f"it holds {held} of {self.max_bytes} bytes"
                if self.policy == "keep_detections" and (other := self._oldest_other(connection)) is not None:
                    reason, first = DropReason.SPOOL_THINNED, other
            elif self.age(first) > self.max_age_seconds:
                reason, bound = DropReason.SPOOL_AGED, "spool.max_age_seconds"
                state = f"its oldest record has waited {self.age(first):.0f} of at most {self.max_age_seconds:.0f} s"
            else:
                return dropped
            if self.policy == "block" or first is None:
                raise SpoolFullError(
                    f"the spool {self.path} is full: {state}; it empties when the cloud takes the records"
                    f" ({bound} sets the bound)"
                )
            for gone in (
                delete(connection, first.camera, first.sequence, first.sequence),
                restart_at_intra(connection, first.camera, first.sequence),
            ):
                dropped.counts[first.name, reason] += gone.records
                dropped.bytes += gone.bytes
                dropped.last[first.name] = max(gone.last, dropped.last.get(first.name, 0))

    def age(self, record: _Waiting | None) -> float:
        """How long it has waited, in seconds; 0 for none."""
        return max(0.0, (self.clock.now_us() - record.spooled_us) / 1e6) if record is not None else 0.0

    def _oldest_other(self, connection: sqlite3.Connection) -> _Waiting | None:
        """The oldest record that came too long after its camera's last frame with detections.

        Those that came sooner are a camera's first ones, since what the cloud has looked at does not wait here any
        more. So letting others go never takes from them what they refer to.
        """
        cameras = connection.execute(
            "SELECT id, name, spooled_us FROM camera LEFT JOIN detection ON detection.camera = id WHERE bytes > 0"
        ).fetchall()
        others = (
            _spooled_after(
                connection, camera, name, -1 if found_us is None else found_us + round(self.recent_seconds * 1e6)
            )
            for camera, name, found_us in cameras
        )
        return min((other for other in others if other is not None), default=None)


def oldest(connection: sqlite3.Connection) -> _Waiting | None:
    """The record that was spooled first. Within a camera that is the one with the lowest sequence."""
    firsts = (
        _at_or_after(connection, camera, name, 0)
        for camera, name in connection.execute("SELECT id, name FROM camera WHERE bytes > 0").fetchall()
    )
    return min((first for first in firsts if first is not None), default=None)


def _at_or_after(connection: sqlite3.Connection, camera: int, name: str, sequence: int) -> _Waiting | None:
    """The camera's first record from a sequence on."""
    row = connection.execute(
        "SELECT spooled_us, sequence FROM record WHERE camera = ? AND sequence >= ? ORDER BY sequence LIMIT 1",
        (camera, sequence),
    ).fetchone()
    return None if row is None else _Waiting(row[0], camera, name, row[1])


def _spooled_after(connection: sqlite3.Connection, camera: int, name: str, after_us: int) -> _Waiting | None:
    """The camera's first record that was spooled after a time, found by halves: hours of records may lie before it."""
    low, (high,) = 0, connection.execute("SELECT max(sequence) FROM record WHERE camera = ?", (camera,)).fetchone()
    if high is None:
        return None
    while low < high:
        middle = (low + high) // 2
        record = _at_or_after(connection, camera, name, middle)
        if record is not None and record.spooled_us <= after_us:
            low = record.sequence + 1
        else:
            high = middle
    found = _at_or_after(connection, camera, name, low)
    return found if found is not None and found.spooled_us > after_us else None
