"""One edge's stream of one camera's records, as the ingest sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from cloud_service.bundles import Bundles
from cloud_service.feedback.arrivals import Arrivals
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.feedback.edge_clocks import EdgeClocks
from cloud_service.feedback.last_detections import LastDetections
from cloud_service.ingest.acknowledgements import Acknowledgements
from cloud_service.ingest.commit_queue import CommitQueue
from cloud_service.ingest.credit import Credit, Pending
from cloud_service.ingest.validation import RecordValidator, check_hello
from cloud_service.metrics import Metrics
from cloud_service.store import GroupCommit, RawRecord, RecordStore
from icm.codec.bitstream.record import VERSION, StreamHeader
from icm.errors import BusyError, IcmError, ProtocolError, RecordError, ReferenceMissingError
from icm.proof.chain import Head
from icm.service.clock import Clock, SystemClock
from icm.service.health import Problems
from icm.v1.ingest_pb2 import Hello, RecordBatch, Seal, StreamRecordsRequest, StreamRecordsResponse, Welcome


@dataclass(frozen=True)
class IngestContext:
    """What all streams work with.

    Attributes:
        credit: records per stream that may be unacknowledged at any time.
        credit_bytes: their bytes, likewise.
        message_bytes: of the largest message that the server takes.
        pending: what waits in all streams together.
        chains: cameras that must send an I record.
        detections: in which frames something was found, for edges to know.
        edge_clocks: notified of how far edges' clocks are off.
        arrivals: notified of what was persisted when.
        newest_head: of a camera's chain, for edges to keep.
        take_seal: called with a camera, an epoch, an edge's public key and its seal over records of these.
        retry_seconds: how long to wait before trying again what the disk refused.
    """

    bundles: Bundles
    store: RecordStore
    commit: GroupCommit
    credit: int
    credit_bytes: int
    pending: Pending
    problems: Problems
    metrics: Metrics
    clock: Clock
    retry_seconds: float
    message_bytes: int
    chains: BrokenReferences = field(default_factory=BrokenReferences)
    detections: LastDetections = field(default_factory=LastDetections)
    edge_clocks: EdgeClocks = field(default_factory=lambda: EdgeClocks(SystemClock()))
    arrivals: Arrivals = field(default_factory=lambda: Arrivals(SystemClock()))
    newest_head: Callable[[str], Head | None] = lambda camera: None
    take_seal: Callable[[str, int, bytes, Seal], None] | None = None


class CameraStream:
    """One stream, from its Hello on.

    Attributes:
        camera: whose records it carries.
        epoch: of the records that it carries.
        peer: the address it comes from.
        ended: set once all is over.
    """

    def __init__(self, context: IngestContext, hello: Hello, peer: str) -> None:
        """Begins the stream that a Hello asks for.

        Raises:
            ConfigError: as of ``check_hello``: the Hello cannot be welcomed.
            ProtocolError: likewise.
            CodecMismatchError: likewise.
        """
        check_hello(hello, context.bundles)
        self.camera, self.epoch, self.peer = hello.camera, hello.epoch, peer
        self._context, self._hello = context, hello
        self._credit = Credit(self.camera, context.credit, context.credit_bytes, context.pending)
        self._validator = RecordValidator(hello, store=context.store, chains=context.chains, most_ahead=context.credit)
        self._acks = Acknowledgements(
            camera=self.camera,
            epoch=self.epoch,
            credit=self._credit,
            detections=context.detections,
            newest_head=context.newest_head,
            metrics=context.metrics,
            clock=context.clock,
        )
        self._commits = CommitQueue(
            camera=self.camera,
            commit=context.commit,
            acks=self._acks,
            persisted=self._persisted,
            store_part=context.problems.part("record store"),
            metrics=context.metrics,
            retry_seconds=context.retry_seconds,
        )
        self._receiving: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    async def run(self, requests: AsyncIterator[StreamRecordsRequest]) -> AsyncGenerator[StreamRecordsResponse, None]:
        """The stream's answers."""
        store = self._context.store
        # A camera that said Hello and never sent a record leaves no series behind.
        with self._context.metrics.cameras.streaming(self.camera, lambda: self.camera in store.names()):
            if self._hello.HasField("send_time"):
                self._compare_clocks(self._hello.send_time)
            self._receiving = asyncio.create_task(self._receive(requests))
            try:
                yield StreamRecordsResponse(welcome=self._welcome())
                async with aclosing(self._acks.leaving()) as acks:
                    async for ack in acks:
                        yield StreamRecordsResponse(ack=ack)
            finally:
                await self._finish(self._receiving)

    def end_input(self) -> None:
        """Reads no further message."""
        if self._receiving is not None:
            self._receiving.cancel()
        self._commits.end_input()

    def fail(self, error: IcmError) -> None:
        """Ends the stream with this error."""
        self._acks.fail(error)

    def _welcome(self) -> Welcome:
        store = self._context.store
        return Welcome(
            resume_after=store.resume_after(self.camera, self.epoch, self._hello.last_persisted),
            credit=self._credit.most_records,
            credit_bytes=self._credit.most_bytes,
            message_bytes=self._context.message_bytes,
            highest=store.highest(self.camera, self.epoch),
            record_version=VERSION,
            keeps_seals=self._context.take_seal is not None,
        )

    async def _finish(self, receiving: asyncio.Task[None]) -> None:
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving
        self._acks.close()
        self._commits.close(self._credit.close)
        self.ended.set()

    async def _receive(self, requests: AsyncIterator[StreamRecordsRequest]) -> None:
        try:
            async for request in requests:
                if request.WhichOneof("message") != "batch":
                    raise ProtocolError("after the Hello, every message must hold a batch of records")
                self._context.metrics.received_bytes.labels(self.camera).inc(request.ByteSize())
                self._take(request.batch)
            self._commits.end_input()
        except Exception as error:
            self._acks.fail(error)

    def _take(self, batch: RecordBatch) -> None:
        validator = self._validator
        self._credit.take(len(batch.records), sum(map(len, batch.records)))
        if batch.HasField("send_time"):
            self._compare_clocks(batch.send_time)
        if batch.HasField("seal") and self._context.take_seal is not None:
            self._context.take_seal(self.camera, self.epoch, self._hello.seal_key, batch.seal)
        if batch.stream_header:
            validator.take_header(batch.stream_header)
        header = validator.header
        if header is None:
            raise ProtocolError("the first batch of a stream must hold a stream header")
        for packed in batch.records:
            try:
                record = validator.take(packed, header)
            except RecordError as error:
                sequence = validator.reject(packed, error)
                self._acks.rejected(sequence, len(packed), error)
                if isinstance(header, StreamHeader) and not isinstance(error, ReferenceMissingError):
                    # The edge may have it whole. Were what follows taken now, it would lie before it.
                    self._commits.flush()
                    raise BusyError(
                        f"record {sequence} came damaged: connect again and go on from there", 0.0
                    ) from None
                continue
            assert isinstance(header, StreamHeader)
            self._commits.add(header, record)
        self._commits.flush()

    def _persisted(self, records: Sequence[RawRecord], outcomes: Sequence[bool]) -> None:
        for record, _ in records:
            self._validator.settled(record.sequence)
        self._context.arrivals.note(self.camera, self.epoch, max(record.sequence for record, _ in records))
        self._acks.persisted(records, outcomes)

    def _compare_clocks(self, sent: Timestamp) -> None:
        sent_us = sent.seconds * 1_000_000 + sent.nanos // 1000
        skew = (self._context.clock.now_us() - sent_us) / 1e6
        self._context.metrics.clock_skew.labels(self.camera).set(skew)
        self._context.edge_clocks.note(self.peer, skew)
