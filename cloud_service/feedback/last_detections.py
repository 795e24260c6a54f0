"""In which frame of each camera a detector last found something, for the ingest to pass on to edges."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cloud_service.events.store import FrameEvent


class LastDetections:
    """The pipeline's reports to the ingest, for edges that keep such frames longest. Thread-safe.

    It begins empty with each start of the cloud.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, int], int] = {}

    def note(self, events: Sequence[FrameEvent]) -> None:
        """These frames were looked at."""
        with self._lock:
            for event in events:
                if event.detections:
                    camera = event.key.camera, event.key.epoch
                    self._newest[camera] = max(event.key.sequence, self._newest.get(camera, 0))

    def sequence(self, camera: str, epoch: int) -> int:
        """The highest sequence in whose frame something was found; 0 for none."""
        with self._lock:
            return self._newest.get((camera, epoch), 0)
