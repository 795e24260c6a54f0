"""The encoding stage: from a camera's queue through the codec into the spool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_service.frame_queue import FrameQueue
from edge_service.images import scaled
from edge_service.metrics import EdgeMetrics
from edge_service.rate_control import RateControl
from edge_service.sources import Frame, Spooled
from edge_service.spool import CameraSpool
from shared.codec.codec import CodedFrame
from shared.codec.record import StreamHeader
from shared.errors import IcmError, SpoolError
from shared.health import Problems
from shared.telemetry import timed

_log = logging.getLogger(__name__)

HEADER_MARGIN_US = 60_000_000
"""How much earlier than a header's first frame a later one may be captured and still share the header."""
SPOOL_RETRY_SECONDS = 0.5
"""How often a spool that refused is asked again."""


class FrameEncoder(Protocol):
    """What ``shared.codec.codec.Encoder`` does."""

    def encode(self, image: NDArray[np.uint8], quality: float) -> CodedFrame: ...


class EncodingStage:
    """Codes one camera's frames. Blocks: give ``run`` a thread of its own."""

    def __init__(
        self,
        encoder: FrameEncoder,
        codec_id: bytes,
        rate: RateControl,
        queue: FrameQueue,
        spool: CameraSpool,
        metrics: EdgeMetrics,
        problems: Problems,
        announce: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        """Args:
        rate: says which frames are coded, and how those that ask for no quality of their own.
        announce: called after each record that was spooled.
        stop: once set, a frame that finds no room in the spool is dropped instead of waiting.
        """
        self._encoder, self._codec_id, self._rate = encoder, codec_id, rate
        self._queue, self._spool, self._metrics, self._problems = queue, spool, metrics, problems
        self._announce, self._stop = announce, stop
        self._header: StreamHeader | None = None
        self._last_error = ""

    def run(self) -> None:
        """Returns when the queue is closed and empty."""
        while (frame := self._queue.get()) is not None:
            if frame.result is not None and not frame.result.set_running_or_notify_cancel():
                continue
            choice = self._rate.next(owed=frame.result is not None)
            if choice is None:
                self._metrics.frames.labels(self._spool.name, "thinned").inc()
                continue
            chosen = replace(
                frame,
                image=scaled(frame.image, choice.scale),
                quality=choice.quality if frame.quality is None else frame.quality,
            )
            if frame.result is None:
                self._work(chosen)
            else:
                self._answer(chosen, frame.result)

    def _work(self, frame: Frame) -> None:
        """Codes a camera's own frame; waits for room in the spool."""
        try:
            coded = self._encode(frame)
            while True:
                try:
                    self._keep(frame, coded)
                    return
                except SpoolError as error:
                    if self._problems.report(f"spool of {self._spool.name}", str(error)):
                        _log.error("camera %s waits: %s", self._spool.name, error)
                    if self._stop.wait(SPOOL_RETRY_SECONDS):
                        self._metrics.count_drop(self._spool.name, "shutdown")
                        return
        except IcmError as error:
            self._metrics.count_drop(self._spool.name, "image")
            if str(error) != self._last_error:
                self._last_error = str(error)
                _log.warning("camera %s: frame dropped: %s", self._spool.name, error)

    def _answer(self, frame: Frame, result: Future[Spooled]) -> None:
        """Codes a submitted frame; whoever submitted it learns at once what became of it."""
        try:
            spooled = self._keep(frame, self._encode(frame))
        except IcmError as error:
            result.set_exception(error)
        else:
            result.set_result(spooled)

    def _encode(self, frame: Frame) -> CodedFrame:
        assert frame.quality is not None
        with timed(self._metrics.stage_seconds.labels(self._spool.name, "encode")):
            return self._encoder.encode(frame.image, frame.quality)

    def _keep(self, frame: Frame, coded: CodedFrame) -> Spooled:
        spool, (height, width) = self._spool, frame.image.shape[:2]
        header = self._header
        if header is None or not header.holds(frame.capture_us, width, height):
            base_us = max(0, frame.capture_us - HEADER_MARGIN_US)
            header = StreamHeader(self._codec_id, spool.name, spool.epoch, base_us, width, height)
        sequence = spool.next_sequence
        record = coded.record(sequence, frame.capture_us).pack(header)
        with timed(self._metrics.stage_seconds.labels(spool.name, "spool")):
            spool.append(sequence, None if header is self._header else header.pack(), record)
        self._header = header
        self._problems.clear(f"spool of {spool.name}")
        self._metrics.frames.labels(spool.name, "spooled").inc()
        self._metrics.encoded_bytes.labels(spool.name, coded.kind.name).inc(len(record))
        self._rate.coded(len(record))
        self._announce()
        return Spooled(spool.epoch, sequence, len(record))
