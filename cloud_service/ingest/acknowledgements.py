"""The acknowledgements of one stream's records."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

from cloud_service.feedback.last_detections import LastDetections
from cloud_service.ingest.credit import Credit
from cloud_service.metrics import Metrics
from cloud_service.store import RawRecord, SequenceSet
from icm.errors import RecordError, ReferenceMissingError
from icm.proof.chain import Head
from icm.service.clock import Clock
from icm.service.log_limit import LogLimit
from icm.v1.ingest_pb2 import (
    ACK_STATE_PERSISTED,
    ACK_STATE_RECEIVED,
    ACK_STATE_REJECTED,
    REJECT_REASON_DAMAGED,
    REJECT_REASON_REFERENCE_MISSING,
    Ack,
)

log = logging.getLogger(__name__)
HEAD_SECONDS = 600.0
"""How often an edge is told of a new head of its camera's chain, at most."""


class _Answer(NamedTuple):
    """An acknowledgement, and how many records, of how many bytes, need no further one after it."""

    ack: Ack
    records: int = 0
    bytes: int = 0


class Acknowledgements:
    """The acknowledgements of one stream, in their order, and its end. Belongs to the event loop."""

    def __init__(
        self,
        *,
        camera: str,
        epoch: int,
        credit: Credit,
        detections: LastDetections,
        newest_head: Callable[[str], Head | None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """Creates the acknowledgements of one stream.

        Args:
            credit: given back as acknowledgements leave.
            detections: in which frames something was found, for the edge to know.
            newest_head: of a camera's chain, for the edge to keep.
        """
        self._camera, self._epoch, self._credit, self._detections = camera, epoch, credit, detections
        self._metrics, self._clock = metrics, clock
        self._last_detected = 0
        self._newest_head, self._head_told, self._head_told_at = newest_head, 0, -math.inf
        self._rejections = LogLimit(log, logging.WARNING, clock)
        self._outgoing: asyncio.Queue[_Answer | Exception | None] = asyncio.Queue()

    async def leaving(self) -> AsyncGenerator[Ack, None]:
        """The acknowledgements until the end; raises what the stream fails with."""
        while (item := await self._outgoing.get()) is not None:
            if isinstance(item, Exception):
                raise item
            # Credit comes back as answers leave, so that a client that reads none cannot pile them up here.
            self._credit.settle(item.records, item.bytes)
            yield item.ack

    def received(self, records: Sequence[RawRecord]) -> None:
        """The records are here, and the disk takes its time."""
        for first, last in SequenceSet((raw.record.sequence, raw.record.sequence) for raw in records):
            self._send(Ack(state=ACK_STATE_RECEIVED, first_sequence=first, last_sequence=last))

    def persisted(self, records: Sequence[RawRecord], outcomes: Sequence[bool]) -> None:
        """Acknowledges records that are on the disk.

        Args:
            outcomes: whether each is new.
        """
        now, metrics = self._clock.now_us(), self._metrics
        counted = {
            new: metrics.records.labels(self._camera, "persisted" if new else "duplicate") for new in set(outcomes)
        }
        took = metrics.capture_to_persisted.labels(self._camera)
        persisted = SequenceSet()
        for (record, _), new in zip(records, outcomes, strict=True):
            persisted.add(record.sequence)
            counted[new].inc()
            if new:
                took.observe(max(0, now - record.capture_us) / 1e6)
        settled, size = len(records), sum(len(packed) for _, packed in records)
        for first, last in persisted:
            ack = Ack(state=ACK_STATE_PERSISTED, first_sequence=first, last_sequence=last)
            detected = self._detections.sequence(self._camera, self._epoch)
            if detected != self._last_detected:
                self._last_detected = ack.last_detected = detected
            self._tell_head(ack)
            self._send(ack, settled, size)
            settled = size = 0

    def _tell_head(self, ack: Ack) -> None:
        """Has an acknowledgement tell of the chain's newest head, if that is due."""
        now = self._clock.monotonic()
        if now - self._head_told_at < HEAD_SECONDS:
            return
        head = self._newest_head(self._camera)
        if head is not None and head.block != self._head_told:
            self._head_told, self._head_told_at = head.block, now
            ack.chain_head = head.line().decode()

    def rejected(self, sequence: int, size: int, error: RecordError) -> None:
        """A record of so many bytes will never be taken."""
        self._metrics.records.labels(self._camera, "rejected").inc()
        missing = isinstance(error, ReferenceMissingError)
        self._rejections.say(type(error).__name__, f"camera {self._camera}: rejecting record {sequence}: {error}")
        ack = Ack(
            state=ACK_STATE_REJECTED,
            first_sequence=sequence,
            last_sequence=sequence,
            reason=REJECT_REASON_REFERENCE_MISSING if missing else REJECT_REASON_DAMAGED,
            detail=str(error),
        )
        self._send(ack, 1, size)

    def end(self) -> None:
        """Ends the stream after what is said so far."""
        self._outgoing.put_nowait(None)

    def fail(self, error: Exception) -> None:
        """Ends the stream with this error after what is said so far."""
        self._outgoing.put_nowait(error)

    def close(self) -> None:
        """The stream is over."""
        self._rejections.flush()

    def _send(self, ack: Ack, records: int = 0, size: int = 0) -> None:
        self._outgoing.put_nowait(_Answer(ack, records, size))
