"""The reading stage: from a camera's source to its queue, again and again when the source fails."""

from __future__ import annotations

import logging
import threading

from edge_service.camera.queue import FrameQueue
from edge_service.losses import DropReason
from edge_service.metrics import EdgeMetrics
from edge_service.sources import Frame, Source
from icm.codec.bitstream.record import MAX_PIXELS
from icm.errors import ImageError, SourceError
from icm.media.pictures import check_picture_size
from icm.service.backoff import Backoff
from icm.service.health import Problems

_log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 30.0


class FrameRateLimit:
    """Leaves out frames so that a rate is not exceeded, by their capture times."""

    def __init__(self, max_fps: float | None) -> None:
        self._interval_us = 1e6 / max_fps if max_fps else 0.0
        self._due_us = float("-inf")

    def keeps(self, frame: Frame) -> bool:
        """Whether the frame is kept."""
        late_us = frame.capture_us - self._due_us
        # Much too early means that the clock was set back, not that frames come fast.
        if -2 * self._interval_us <= late_us < 0:
            return False
        # While frames come steadily, due times stay on a grid: jitter must not lower the rate.
        steady = 0 <= late_us < self._interval_us
        self._due_us = (self._due_us if steady else frame.capture_us) + self._interval_us
        return True


class Reader:
    """Reads one camera. Blocks: give ``run`` a thread of its own.

    Attributes:
        failed: whether a source that cannot be tried again gave up.
    """

    def __init__(
        self,
        camera: str,
        source: Source,
        queue: FrameQueue,
        thinning: FrameRateLimit,
        metrics: EdgeMetrics,
        problems: Problems,
        stop: threading.Event,
        most_pixels: int = MAX_PIXELS,
    ) -> None:
        """Creates the reader of a camera's source.

        Args:
            most_pixels: of a picture; larger ones are dropped.
        """
        self._most_pixels = most_pixels
        self._camera, self._source, self._queue, self._frame_rate_limit = camera, source, queue, thinning
        self._losses, self._stop = metrics.losses, stop
        self._part = problems.part(f"camera {camera}")
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MOST_RETRY_SECONDS)
        self.failed = False
        self._damaged = 0

    def run(self) -> None:
        """Returns when the source has ended for good or the stop was set; closes the queue then."""
        try:
            while not self._stop.is_set():
                try:
                    self._read()
                except SourceError as error:
                    if not self._source.live:
                        self.failed = True
                        self._report(str(error))
                        return
                    if self._stop.is_set():
                        return
                    wait = self._backoff.next()
                    self._report(f"{error}; trying again")
                    self._stop.wait(wait)
                else:
                    return
        finally:
            self._queue.close()

    def _read(self) -> None:
        try:
            self._take_frames()
        finally:
            self._count_damage()

    def _take_frames(self) -> None:
        for frame in self._source.frames(self._stop):
            self._count_damage()
            height, width = frame.image.shape[:2]
            try:
                check_picture_size(width, height, self._most_pixels)
            except ImageError as error:
                self._losses.frame(self._camera, DropReason.IMAGE)
                self._report(f"frame dropped: {error}")
                continue
            if self._part.clear():
                _log.info("camera %s: pictures come again", self._camera)
            self._backoff.reset()
            if self._frame_rate_limit.keeps(frame):
                self._queue.put(frame)
            else:
                self._losses.rate_limited(self._camera)

    def _count_damage(self) -> None:
        while self._damaged < self._source.damaged:
            self._damaged += 1
            self._losses.frame(self._camera, DropReason.DAMAGED)

    def _report(self, text: str) -> None:
        if self._part.report(text):
            _log.error("camera %s: %s", self._camera, text)
