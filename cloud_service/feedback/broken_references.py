"""Cameras whose newest records cannot be decoded, because one that they refer to is lost or damaged."""

from __future__ import annotations

import threading


class BrokenReferences:
    """The decoder's reports to the ingest: a camera sends P records for as long as nobody asks for an I record.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._intra: dict[tuple[str, int], int] = {}
        self._broken: set[tuple[str, int]] = set()

    def report(self, camera: str, epoch: int, sequence: int) -> None:
        """A P record cannot be decoded for want of the one before it; no news if an I record followed already."""
        with self._lock:
            if sequence > self._intra.get((camera, epoch), 0):
                self._broken.add((camera, epoch))

    def is_intra(self, camera: str, epoch: int, sequence: int) -> None:
        """An I record has come."""
        with self._lock:
            self._intra[camera, epoch] = sequence
            self._broken.discard((camera, epoch))

    def broken(self, camera: str, epoch: int) -> bool:
        """Whether the camera must send an I record."""
        with self._lock:
            return (camera, epoch) in self._broken
