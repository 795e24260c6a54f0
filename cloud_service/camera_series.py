"""Series of metrics by camera: who may send any name must not fill the metrics with names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

MOST_CAMERAS = 1000
"""Cameras with series of their own, about 20 each."""
OTHERS = "(others)"
"""What the cameras beyond that are called together; no camera can be."""

Metric = TypeVar("Metric", bound=MetricWrapperBase)


class CameraNames:
    """Which cameras have series of their own. Thread-safe."""

    def __init__(self, most: int = MOST_CAMERAS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._streams: Counter[str] = Counter()
        self._metrics: list[MetricWrapperBase] = []

    def shown(self, camera: str) -> str:
        """The camera's name, or what it is called together with others."""
        with self._lock:
            if camera not in self._names and len(self._names) >= self._most:
                return OTHERS
            self._names.add(camera)
            return camera

    @contextmanager
    def streaming(self, camera: str, stays: Callable[[], bool]) -> Iterator[None]:
        """A camera's stream is open while the block runs.

        Args:
            stays: asked at the end whether there is more to tell of the camera; if not, its series go.
        """
        with self._lock:
            self._streams[camera] += 1
        try:
            yield
        finally:
            gone = not stays()
            with self._lock:
                self._streams[camera] -= 1
                if not self._streams[camera]:
                    del self._streams[camera]
                    if gone and camera in self._names:
                        self._names.remove(camera)
                        for metric in self._metrics:
                            metric.remove_by_labels({"camera": camera})

    def per_camera(self, metric: Metric) -> PerCamera[Metric]:
        """The metric, whose first label is the camera."""
        self._metrics.append(metric)
        return PerCamera(metric, self)


class PerCamera(Generic[Metric]):
    """A metric by camera, within the bound of ``CameraNames``."""

    def __init__(self, metric: Metric, names: CameraNames) -> None:
        self._metric, self._names = metric, names

    def labels(self, camera: str, *others: str) -> Metric:
        """As of the metric itself."""
        return self._metric.labels(self._names.shown(camera), *others)
