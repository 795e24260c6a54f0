"""Whether a camera is live, late or silent."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from cloud_service.feedback.arrivals import Arrival

PATIENCE_SECONDS = 5.0
"""From here on a camera is late or silent, unless it is a slow one."""
_INTERVALS = 3
_LONGEST_PATIENCE_SECONDS = 7200.0


class State(StrEnum):
    """How a camera does."""

    LIVE = "live"
    LATE = "late"
    SILENT = "silent"
    EMPTY = "empty"


class CameraState(NamedTuple):
    """How a camera does, and for how long its newest frame has been there.

    Attributes:
        age: seconds since the capture of its newest frame; None if there is none.
    """

    state: State
    age: float | None


def state_of(captured_us: int | None, arrival: Arrival | None, now_us: int, now: float) -> CameraState:
    """How a camera does.

    Args:
        captured_us: capture of its newest frame that the cloud is done with, or of the newest that is stored, where
            it was done with none yet; microseconds since 1970, None if it has none.
        arrival: of its newest records, None if none came since the start.
        now_us: the time, microseconds since 1970.
        now: the time in monotonic seconds.
    """
    if captured_us is None:
        return CameraState(State.EMPTY, None)
    # A clock that is ahead makes no frame of the future.
    age = max(0.0, (now_us - captured_us) / 1e6)
    if arrival is None:
        return CameraState(State.SILENT if age > PATIENCE_SECONDS else State.LIVE, age)
    patience = min(max(PATIENCE_SECONDS, _INTERVALS * arrival.interval), _LONGEST_PATIENCE_SECONDS)
    if now - arrival.at > patience:
        return CameraState(State.SILENT, age)
    return CameraState(State.LATE if age > patience else State.LIVE, age)
