"""The encoding stage: from a camera's queue through the codec into the spool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_service.camera.queue import FrameQueue
from edge_service.images import scaled
from edge_service.losses import DropReason
from edge_service.metrics import EdgeMetrics
from edge_service.rate.control import RateControl
from edge_service.sources import Frame, Spooled
from edge_service.spool.camera_spool import CameraSpool
from icm.codec.bitstream.record import Kind, StreamHeader
from icm.codec.encoder import CodedFrame
from icm.codec.latents.latents import Latents
from icm.errors import IcmError, ReferenceMissingError, SpoolError
from icm.service.health import Problems
from icm.service.telemetry import timed

_log = logging.getLogger(__name__)

HEADER_MARGIN_US = 60_000_000
"""How much earlier than a header's first frame a later one may be captured and still share the header."""
SPOOL_RETRY_SECONDS = 0.5
"""How often a spool that refused is asked again."""


class FrameEncoder(Protocol):
    """What ``icm.codec.encoder.Encoder`` does."""

    def encode(self, image: NDArray[np.uint8], quality: float) -> CodedFrame: ...

    def forget(self) -> None: ...


@dataclass(frozen=True)
class Codec:
    """What a camera needs of the codec: its own encoder, what codes a frame anew and alone, and what the records are
    stamped with.
    """

    encoder: FrameEncoder
    recode_intra: Callable[[Latents], CodedFrame]
    codec_id: bytes


class EncodingStage:
    """Codes one camera's frames. Blocks: give ``run`` a thread of its own."""

    def __init__(
        self,
        codec: Codec,
        rate: RateControl,
        queue: FrameQueue,
        spool: CameraSpool,
        metrics: EdgeMetrics,
        problems: Problems,
        announce: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        """Creates the stage between a queue and a spool.

        Args:
            rate: decides which frames are coded, and the quality of those that ask for none of their own.
            announce: called after each record that was spooled.
            stop: once set, a frame that finds no room in the spool is dropped instead of waiting.
        """
        self._codec, self._encoder, self._rate = codec, codec.encoder, rate
        self._queue, self._spool, self._metrics = queue, spool, metrics
        self._spool_part = problems.part("spool", spool.name)
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
                self._metrics.losses.rate_controlled(self._spool.name)
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
                except ReferenceMissingError:
                    coded = self._encode_intra(frame)
                except SpoolError as error:
                    if self._spool_part.report(str(error)):
                        _log.error("camera %s waits: %s", self._spool.name, error)
                    if self._stop.wait(SPOOL_RETRY_SECONDS):
                        self._encoder.forget()
                        self._metrics.losses.frame(self._spool.name, DropReason.SHUTDOWN)
                        return
        except IcmError as error:
            # The encoder must not refer to a frame that may have been coded and did not get into the spool.
            self._encoder.forget()
            self._metrics.losses.frame(self._spool.name, DropReason.IMAGE)
            if str(error) != self._last_error:
                self._last_error = str(error)
                _log.warning("camera %s: frame dropped: %s", self._spool.name, error)

    def _answer(self, frame: Frame, result: Future[Spooled]) -> None:
        """Codes a submitted frame; whoever submitted it learns at once what became of it."""
        try:
            coded = self._encode(frame)
            try:
                spooled = self._keep(frame, coded)
            except ReferenceMissingError:
                spooled = self._keep(frame, self._encode_intra(frame))
        except IcmError as error:
            self._encoder.forget()
            result.set_exception(error)
        else:
            result.set_result(spooled)

    def _encode(self, frame: Frame) -> CodedFrame:
        assert frame.quality is not None
        with timed(self._metrics.stage_seconds.labels(self._spool.name, "encode")):
            return self._encoder.encode(frame.image, frame.quality)

    def _encode_intra(self, frame: Frame) -> CodedFrame:
        """Codes a frame anew after the spool dropped the one that it leant on."""
        self._encoder.forget()
        return self._encode(frame)

    def _keep(self, frame: Frame, coded: CodedFrame) -> Spooled:
        spool, (height, width) = self._spool, frame.image.shape[:2]
        header = self._header
        if header is None or header.epoch != spool.epoch or not header.holds(frame.capture_us, width, height):
            base_us = max(0, frame.capture_us - HEADER_MARGIN_US)
            header = StreamHeader(self._codec.codec_id, spool.name, spool.epoch, base_us, width, height)
        sequence = spool.next_sequence
        record = coded.record(sequence, frame.capture_us).pack(header)
        intra_copy = None
        if coded.kind is Kind.P and spool.needs_intra_copy():
            intra_copy = self._codec.recode_intra(coded.latents).record(sequence, frame.capture_us).pack(header)
        with timed(self._metrics.stage_seconds.labels(spool.name, "spool")):
            spool.append(sequence, None if header is self._header else header.pack(), record, intra_copy)
        self._header = header
        self._spool_part.clear()
        self._metrics.frames.labels(spool.name, "spooled").inc()
        self._metrics.encoded_bytes.labels(spool.name, coded.kind.name).inc(len(record))
        self._rate.coded(len(record))
        self._announce()
        return Spooled(spool.epoch, sequence, len(record), width, height)
