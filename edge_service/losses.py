"""Frames that do not arrive: why, and how many of each camera."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter


class DropReason(StrEnum):
    """Why a frame or a record is lost."""

    DAMAGED = "damaged"
    """A source's packet or picture could not be decoded."""
    QUEUE_FULL = "queue_full"
    """The encoder is too slow for a live source."""
    IMAGE = "image"
    """It cannot be coded."""
    SHUTDOWN = "shutdown"
    """The spool had no room when the process ended."""
    SPOOL_FULL = "spool_full"
    """The oldest records went so that newer ones find room; one that was already on its way may have arrived."""
    SPOOL_THINNED = "spool_no_detections"
    """Likewise the oldest without recent detections."""
    SPOOL_AGED = "spool_aged"
    """Likewise those that had waited for too long."""
    SPOOL_DAMAGED = "spool_damaged"
    """It could not be read from a damaged spool; counted at most."""
    SPOOL_FORMAT = "spool_format"
    """It is of a version of the record format that this edge does not send; kept beside the spool."""
    REJECTED_DAMAGED = "rejected_damaged"
    """The cloud could not read it."""
    REJECTED_REFERENCE_MISSING = "rejected_reference_missing"
    """The cloud lacks the record that it refers to."""
    REJECTED_UNSPECIFIED = "rejected_unspecified"
    """The cloud did not say why."""


class Losses:
    """Counts frames that do not arrive. Thread-safe."""

    def __init__(self, frames: Counter, dropped: Counter) -> None:
        """Creates the count of frames that were lost.

        Args:
            frames: by camera and outcome.
            dropped: by camera and reason.
        """
        self._frames, self._dropped = frames, dropped

    def show(self, camera: str) -> None:
        """Shows a camera's series from the start, at zero: a counter that appears with its first drop has no rate."""
        for outcome in ("rate_limited", "rate_controlled", "dropped", "refused"):
            self._frames.labels(camera, outcome)
        for reason in DropReason:
            self._dropped.labels(camera, reason)

    def frame(self, camera: str, reason: DropReason) -> None:
        """A frame is lost before it was spooled."""
        self._frames.labels(camera, "dropped").inc()
        self._dropped.labels(camera, reason).inc()

    def records(self, camera: str, reason: DropReason, count: int) -> None:
        """Records are lost after they were spooled."""
        self._dropped.labels(camera, reason).inc(count)

    def rate_limited(self, camera: str) -> None:
        """A frame is left out for ``max_fps``."""
        self._frames.labels(camera, "rate_limited").inc()

    def rate_controlled(self, camera: str) -> None:
        """A frame is left out for the target bitrate."""
        self._frames.labels(camera, "rate_controlled").inc()

    def refused(self, camera: str) -> None:
        """A client's frame is not taken, and the client got the reason."""
        self._frames.labels(camera, "refused").inc()
