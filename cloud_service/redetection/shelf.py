"""Which weights others may ask for by name: a path from elsewhere would have the service read whatever it can reach,
and weights are programs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from cloud_service.redetection.jobs import Job
from cloud_service.redetection.weights import Weights
from cloud_service.settings import CloudSettings, NoDetectorSettings
from icm.errors import IcmError, NotFoundError

FOLDER = "weights"
"""In the store's folder: who puts a file there offers it."""
_ENDS = (".pt", ".onnx")
_MOST = 1000


class WeightsShelf:
    """The weights that are offered: the detector's, those in the folder, and those of jobs. Thread-safe."""

    def __init__(self, settings: CloudSettings) -> None:
        """Reads nothing yet.

        Args:
            settings: of the cloud.
        """
        self._detector, self._folder = settings.detector, settings.store.folder / FOLDER
        self._lock = threading.Lock()
        self._read: dict[tuple[Path, str | None, int, int], Weights] = {}

    def all(self, jobs: list[Job]) -> dict[str, Weights]:
        """By the name that events are filed under, in its order.

        Args:
            jobs: whose weights are offered too, while their files are as they were.
        """
        found = {each.model: each for each in self._offered()}
        for job in jobs:
            now = None if job.model in found else self._weights(job.weights.path, job.weights.kind)
            if now is not None and now.sha256 == job.weights.sha256:
                found[job.model] = now
        return dict(sorted(found.items()))

    def get(self, model: str, jobs: list[Job]) -> Weights:
        """The weights of a name.

        Raises:
            NotFoundError: none that are offered have it.
        """
        found = self.all(jobs).get(model)
        if found is None:
            raise NotFoundError(f"there are no weights {model[:80]!r}: put the file into {self._folder} to offer it")
        return found

    def _offered(self) -> Iterator[Weights]:
        detector = self._detector
        places: list[tuple[Path, str | None]] = []
        if not isinstance(detector, NoDetectorSettings):
            places.append((detector.weights, detector.kind))
        if self._folder.is_dir():
            files = sorted(path for path in self._folder.iterdir() if path.suffix in _ENDS)
            places += [(path, None) for path in files[:_MOST]]
        for path, kind in places:
            if (weights := self._weights(path, kind)) is not None:
                yield weights

    def _weights(self, path: Path, kind: str | None) -> Weights | None:
        """What a file holds; None where it cannot be read. One that did not change is not read again."""
        try:
            status = path.stat()
            key = path, kind, status.st_size, status.st_mtime_ns
            with self._lock:
                if key not in self._read:
                    if len(self._read) >= _MOST:
                        self._read.clear()
                    self._read[key] = Weights.of(path, kind)
                return self._read[key]
        except (OSError, IcmError):
            return None
