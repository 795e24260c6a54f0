"""One camera: its stages, and the two threads that drive them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from edge_service.camera.encoding import Codec, EncodingStage
from edge_service.camera.queue import FrameQueue
from edge_service.camera.reader import FrameRateLimit, Reader
from edge_service.losses import DropReason
from edge_service.metrics import EdgeMetrics
from edge_service.rate.control import RateControl
from edge_service.settings import CameraSettings
from edge_service.sources import Source
from edge_service.spool.camera_spool import CameraSpool
from icm.service.health import Problems

QUEUE_FRAMES = 2
"""Pictures between source and encoder: a frame that waits longer is only later, and each takes megabytes."""
THREADS = 2
"""That a camera occupies in its executor."""


class Camera:
    """Source -> queue -> encoder -> spool."""

    def __init__(
        self,
        settings: CameraSettings,
        source: Source,
        codec: Codec,
        spool: CameraSpool,
        rate: RateControl,
        metrics: EdgeMetrics,
        problems: Problems,
        announce: Callable[[], None],
    ) -> None:
        """Creates a camera's reader and encoder, which ``run`` starts.

        Args:
            announce: called after each record that was spooled, from the encoder's thread.
        """
        self._source = source
        self._stop = threading.Event()
        name, losses = settings.name, metrics.losses
        queue = self._queue = FrameQueue(QUEUE_FRAMES, source.live, lambda _: losses.frame(name, DropReason.QUEUE_FULL))
        thinning = FrameRateLimit(settings.max_fps)
        self._reader = Reader(name, source, queue, thinning, metrics, problems, self._stop, settings.max_pixels)
        self._encoding = EncodingStage(codec, rate, queue, spool, metrics, problems, announce, self._stop)

    async def run(self, threads: Executor) -> bool:
        """Returns when the source has ended and all its frames are spooled; False if the source failed."""
        loop = asyncio.get_running_loop()
        stages = [loop.run_in_executor(threads, stage.run) for stage in (self._reader, self._encoding)]
        try:
            await asyncio.gather(*stages)
        finally:
            # If one stage broke, the other must not wait for it for ever.
            self.stop()
            self._queue.close()
        return not self._reader.failed

    def stop(self) -> None:
        """Lets ``run`` end: no new frames, those in the queue are still spooled."""
        self._stop.set()
        self._source.stop()
