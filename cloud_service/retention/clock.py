"""The time that ages are counted by: one wrong answer of a time server must not delete an archive.

The machine's clock is believed while it stays on a line: the last time that was trusted, and what has passed since by a
counter that nobody sets, which runs from the machine's start. The line is kept in a file, so a restart of the service
goes on with it. A restart of the machine breaks it, as nothing there says how long it was off: a clock that then is up
to a day ahead of what was trusted last is believed. One that is further ahead is not, and no age counts, until two
edges, whose clocks are set by others, say that it is right, or a person does.

A clock that is behind only makes things look younger.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from icm.atomic_file import write_atomically
from icm.errors import StorageError, storage_error

log = logging.getLogger(__name__)

FILE_NAME = "clock.json"
TOLERANCE_US = 5 * 60 * 1_000_000
"""How far the clock may be ahead of the line, or of the edges' clocks."""
LONGEST_OFF_US = 86_400 * 1_000_000
"""For how long a machine may have been off without anybody being asked."""
_WRITE_US = 60 * 1_000_000
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Moment(NamedTuple):
    """What the machine says the time is.

    Attributes:
        wall_us: by the clock that people set, microseconds since 1970.
        boot: which start of the machine this is.
        since_us: by the counter, microseconds since that start, sleep included.
    """

    wall_us: int
    boot: str
    since_us: int


def machine_moment() -> Moment:
    """Of the machine that this is."""
    try:
        boot = _BOOT.read_text("ascii").strip()
    except OSError:
        boot = ""
    return Moment(time.time_ns() // 1000, boot, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)


@dataclass(frozen=True)
class Reading:
    """The time.

    Attributes:
        now_us: that ages are counted by, microseconds since 1970; None if none can be trusted, and no age counts.
        trusted: whether the machine's clock is where it should be.
        why: it is not, for a person.
    """

    now_us: int | None
    trusted: bool
    why: str = ""


class _Line(NamedTuple):
    """Where the clock should be: at ``at_us`` when the counter of this start of the machine was at ``since_us``."""

    at_us: int
    boot: str
    since_us: int


class TrustedClock:
    """Reads the time for one store, and remembers it there. Not thread-safe."""

    def __init__(
        self,
        folder: Path,
        newest_us: int,
        edges: Callable[[], float | None],
        moment: Callable[[], Moment] = machine_moment,
    ) -> None:
        """Takes up the line where the file left it.

        Args:
            folder: the store's.
            newest_us: when the newest of the store arrived, for a store without a file; 0 if it is empty.
            edges: returns how far edges' clocks are behind this machine's, in seconds; None if too few speak.
            moment: returns what the machine says.

        Raises:
            StorageError: the file is damaged, or cannot be read.
        """
        self._path, self._edges, self._moment = folder / FILE_NAME, edges, moment
        line = _load(self._path)
        if line is None:
            now = moment()
            line = _Line(newest_us, "", 0) if newest_us else _Line(now.wall_us, now.boot, now.since_us)
        self._line = line
        self._written_us = 0

    def read(self) -> Reading:
        """The time. It is remembered on the disk every minute.

        Raises:
            StorageError: the disk refused.
        """
        now = self._moment()
        skew = self._edges()
        if skew is not None and abs(skew) * 1e6 <= TOLERANCE_US:
            self._line = _Line(*now)
        elif skew is not None and skew > 0:
            return Reading(None, False, f"the machine's clock is {_span(skew)} ahead of the edges' clocks")
        if self._line.boot != now.boot:
            ahead = now.wall_us - self._line.at_us
            if ahead > LONGEST_OFF_US:
                return Reading(
                    None, False, f"the machine's clock is {_span(ahead / 1e6)} ahead of when it was last trusted"
                )
            if ahead < -TOLERANCE_US:
                return Reading(
                    now.wall_us, False, f"the machine's clock is {_span(-ahead / 1e6)} behind when it was last trusted"
                )
            self._line = _Line(max(now.wall_us, self._line.at_us), now.boot, now.since_us)
        line_us = self._line.at_us + now.since_us - self._line.since_us
        if now.since_us - self._written_us >= _WRITE_US or not self._written_us:
            self._write(_Line(line_us, now.boot, now.since_us))
        ahead = now.wall_us - line_us
        if ahead <= TOLERANCE_US:
            return Reading(now.wall_us, True)
        return Reading(
            line_us + TOLERANCE_US,
            False,
            f"the machine's clock jumped {_span(ahead / 1e6)} ahead; ages go on without it",
        )

    def trust(self) -> None:
        """A person says that the machine's clock is right now.

        Raises:
            StorageError: the disk refused.
        """
        self._line = _Line(*self._moment())
        self._write(self._line)
        log.info("the machine's clock is trusted from here on, as an operator says")

    def _write(self, line: _Line) -> None:
        try:
            write_atomically(self._path, json.dumps(line._asdict()) + "\n")
        except OSError as error:
            raise storage_error(error, self._path) from None
        self._written_us = line.since_us


def _load(path: Path) -> _Line | None:
    try:
        found = json.loads(path.read_bytes())
        return _Line(int(found["at_us"]), str(found["boot"]), int(found["since_us"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(
            f"{path} is damaged: it should say when the clock was last trusted; delete it, and"
            " `icm-cloud retention trust-clock` once the clock is right"
        ) from None


def _span(seconds: float) -> str:
    for size, unit in ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.1f} minutes"
