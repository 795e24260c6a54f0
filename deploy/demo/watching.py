"""Listens to what the cloud finds, while it finds it."""

from __future__ import annotations

import math
import time
from collections import Counter

from icm.v1 import archive_pb2, archive_pb2_grpc, frame_pb2


class Watcher:
    """Every frame's detections, and how long after its capture they arrived here.

    Attributes:
        frames: what was found, by the frame's sequence.
        latencies: seconds from capture to arrival, in order of arrival.
        classes: how many objects of each class were found in all frames together.
    """

    def __init__(self, archive: archive_pb2_grpc.ArchiveServiceAsyncStub, camera: str) -> None:
        self._archive, self._camera = archive, camera
        self.frames: dict[int, frame_pb2.FrameDetections] = {}
        self.latencies: list[float] = []
        self.classes: Counter[str] = Counter()

    async def run(self) -> None:
        """Listens until it is cancelled or the cloud ends the stream.

        Raises:
            grpc.aio.AioRpcError: the stream broke.
        """
        async for answer in self._archive.WatchDetections(archive_pb2.WatchDetectionsRequest(camera=self._camera)):
            found = answer.detections
            self.frames[found.frame.sequence] = found
            self.latencies.append(time.time() - found.capture_time.ToNanoseconds() / 1e9)
            self.classes.update(detection.class_name for detection in found.detections)


def quantile(values: list[float], q: float) -> float | None:
    """The smallest value that at least the share ``q`` of all values does not exceed; None for no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
