"""One edge's stream of one camera's records, as the ingest sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from cloud_service.bundles import Bundles
from cloud_service.feedback.broken_references import BrokenChains
from cloud_service.feedback.last_detections import NewestDetections
from cloud_service.ingest.credit import Credit, Pending
from cloud_service.metrics import Metrics
from cloud_service.store import GroupCommit, RawRecord, RecordStore, SequenceSet
from icm.camera_name import check_camera_name
from icm.codec.bitstream.record import LATEST_US, MAX_SEQUENCE, VERSION, Kind, Record, StreamHeader
from icm.errors import (
    BusyError,
    IcmError,
    ProtocolError,
    RecordError,
    ReferenceMissingError,
    StorageError,
)
from icm.rpc.servers import MAX_MESSAGE_BYTES
from icm.service.clock import Clock
from icm.service.health import Problems
from icm.service.log_limit import LogLimit
from icm.v1.ingest_pb2 import (
    ACK_STATE_PERSISTED,
    ACK_STATE_RECEIVED,
    ACK_STATE_REJECTED,
    REJECT_REASON_DAMAGED,
    REJECT_REASON_REFERENCE_MISSING,
    Ack,
    Hello,
    RecordBatch,
    StreamRecordsRequest,
    StreamRecordsResponse,
    Welcome,
)

log = logging.getLogger(__name__)
MAX_EPOCH = (1 << 63) - 1
RECEIVED_SECONDS = 1.0
"""Records that the disk keeps waiting for so long are acknowledged as received. Before that, PERSISTED says enough:
a message for each record would cost the cloud a third of its time."""


@dataclass(frozen=True)
class Desk:
    """What all streams work with.

    Attributes:
        credit: records per stream that may be unacknowledged at any time.
        credit_bytes: their bytes, likewise.
        message_bytes: of the largest message that the server takes.
        pending: what waits in all streams together.
        chains: cameras that must send an I record.
        detections: in which frames something was found, for edges to know.
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
    message_bytes: int = MAX_MESSAGE_BYTES
    chains: BrokenChains = field(default_factory=BrokenChains)
    detections: NewestDetections = field(default_factory=NewestDetections)


class _Answer(NamedTuple):
    """An acknowledgement, and how many records, of how many bytes, need no further one after it."""

    ack: Ack
    records: int = 0
    bytes: int = 0


class Session:
    """One stream, from its Hello on.

    Attributes:
        camera, epoch: what it carries.
        peer: the address it comes from.
        ended: set once all is over.
    """

    def __init__(self, desk: Desk, hello: Hello, peer: str) -> None:
        """Raises: ConfigError, ProtocolError or CodecMismatchError if the Hello cannot be welcomed."""
        self.camera, self.epoch, self.peer = check_camera_name(hello.camera), hello.epoch, peer
        if not 0 < hello.epoch <= MAX_EPOCH or hello.last_persisted > MAX_SEQUENCE:
            raise ProtocolError(f"Hello: epoch {hello.epoch} or last_persisted {hello.last_persisted} is out of range")
        desk.bundles.of(hello.codec_id, f"camera {self.camera!r}")
        self._desk = desk
        self._hello = hello
        self._header: StreamHeader | RecordError | None = None
        self._last_sequence = hello.last_persisted
        self._last_detected = 0
        self._newest = 0
        self._credit = Credit(self.camera, desk.credit, desk.credit_bytes, desk.pending)
        self._pending: list[tuple[StreamHeader, RawRecord]] = []
        self._in_flight: set[int] = set()
        self._input_over = self._over = False
        self._busy = self._told = False
        self._timer: asyncio.TimerHandle | None = None
        self.ended = asyncio.Event()
        self._rejections = LogLimit(log, logging.WARNING, desk.clock)
        self._outgoing: asyncio.Queue[_Answer | Exception | None] = asyncio.Queue()
        self._receiving: asyncio.Task[None] | None = None
        self._appending: asyncio.Future[list[bool]] | None = None

    async def run(self, requests: AsyncIterator[StreamRecordsRequest]) -> AsyncGenerator[StreamRecordsResponse, None]:
        """The stream's answers."""
        credit, store = self._credit, self._desk.store
        # A camera that said Hello and never sent a record leaves no series behind.
        with self._desk.metrics.cameras.streaming(self.camera, lambda: self.camera in store.names()):
            if self._hello.HasField("send_time"):
                self._compare_clocks(self._hello.send_time)
            self._receiving = asyncio.create_task(self._guard(self._receive(requests)))
            try:
                resume_after = store.resume_after(self.camera, self.epoch, self._last_sequence)
                welcome = Welcome(
                    resume_after=resume_after,
                    credit=credit.most_records,
                    credit_bytes=credit.most_bytes,
                    message_bytes=self._desk.message_bytes,
                    highest=store.highest(self.camera, self.epoch),
                    record_version=VERSION,
                )
                yield StreamRecordsResponse(welcome=welcome)
                while (item := await self._outgoing.get()) is not None:
                    if isinstance(item, Exception):
                        raise item
                    # Credit comes back as answers leave, so that a client that reads none cannot pile them up here.
                    credit.settle(item.records, item.bytes)
                    yield StreamRecordsResponse(ack=item.ack)
            finally:
                await self._finish(self._receiving)

    async def _finish(self, receiving: asyncio.Task[None]) -> None:
        self._over = True
        self._rejections.flush()
        if self._timer is not None:
            self._timer.cancel()
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving
        if self._appending is not None and not self._appending.done():
            # What the disk has not taken yet is in memory still, though nobody waits for it any more.
            self._appending.add_done_callback(lambda _: self._credit.close())
        else:
            self._credit.close()
        self.ended.set()

    def end_input(self) -> None:
        """Reads no further message."""
        if self._receiving is not None:
            self._receiving.cancel()
        self._end_input()

    def fail(self, error: IcmError) -> None:
        """Ends the stream with this error."""
        self._outgoing.put_nowait(error)

    async def _guard(self, work: Any) -> None:
        try:
            await work
        except Exception as error:
            self._outgoing.put_nowait(error)

    def _guarded(self, step: Callable[..., None], *arguments: Any) -> None:
        """A step as a callback. What it raises ends the stream; asyncio would log it, and the stream wait for ever."""
        try:
            step(*arguments)
        except Exception as error:
            self._outgoing.put_nowait(error)

    def _end_input(self) -> None:
        self._input_over = True
        self._persist()

    async def _receive(self, requests: AsyncIterator[StreamRecordsRequest]) -> None:
        async for request in requests:
            if request.WhichOneof("message") != "batch":
                raise ProtocolError("after the Hello, every message must hold a batch of records")
            self._desk.metrics.received_bytes.labels(self.camera).inc(request.ByteSize())
            self._take(request.batch)
        self._end_input()

    def _take(self, batch: RecordBatch) -> None:
        self._credit.take(len(batch.records), sum(map(len, batch.records)))
        if batch.HasField("send_time"):
            self._compare_clocks(batch.send_time)
        if batch.stream_header:
            self._header = self._parse_header(batch.stream_header)
        header = self._header
        if header is None:
            raise ProtocolError("the first batch of a stream must hold a stream header")
        for packed in batch.records:
            try:
                if isinstance(header, RecordError):
                    raise RecordError(str(header))
                record = self._parse(packed, header)
            except RecordError as error:
                sequence = self._sequence_of(packed, error)
                self._reject(sequence, len(packed), error)
                if isinstance(header, StreamHeader) and not isinstance(error, ReferenceMissingError):
                    # The edge may have it whole. Were what follows taken now, it would lie before it.
                    self._persist()
                    raise BusyError(
                        f"record {sequence} came damaged: connect again and go on from there", 0.0
                    ) from None
                continue
            self._last_sequence = record.sequence
            self._in_flight.add(record.sequence)
            self._pending.append((header, RawRecord(record, packed)))
        self._persist()

    def _compare_clocks(self, sent: Timestamp) -> None:
        sent_us = sent.seconds * 1_000_000 + sent.nanos // 1000
        self._desk.metrics.clock_skew.labels(self.camera).set((self._desk.clock.now_us() - sent_us) / 1e6)

    def _parse_header(self, packed: bytes) -> StreamHeader | RecordError:
        """The header, or why all that comes under it is rejected. To end the stream instead would bring the same header
        again with the next one, and hold the camera's later records up for ever.
        """
        try:
            header = StreamHeader.parse(packed)[0]
        except RecordError as error:
            return error
        hello = self._hello
        if (header.camera, header.epoch, header.codec_id) != (hello.camera, hello.epoch, hello.codec_id):
            return RecordError("the stream header's camera, epoch and codec must be those of the Hello")
        if header.base_us > LATEST_US:
            return RecordError(f"the stream header's base time {header.base_us} us lies beyond the year 9986")
        return header

    def _parse(self, packed: bytes, header: StreamHeader) -> Record:
        record = Record.parse_whole(packed, header)
        if not (record.sequence in self._in_flight or self._holds(record.sequence)):
            self._check_reference(record)
            self._newest = record.sequence
        return record

    def _check_reference(self, record: Record) -> None:
        """Raises ReferenceMissingError: a decoder that has read the log so far could not decode this record next."""
        chains = self._desk.chains
        # What an earlier stream of this camera brought can reach the disk after this one began.
        newest = max(self._newest, self._desk.store.newest(self.camera, self.epoch))
        if record.kind is Kind.I:
            chains.stands_alone(self.camera, self.epoch, record.sequence)
        elif record.sequence - record.reference != newest:
            raise ReferenceMissingError(
                f"record {record.sequence} leans on record {record.sequence - record.reference}, but the newest that is"
                f" here is {newest or 'none'}; send an I record"
            )
        elif chains.broken(self.camera, self.epoch):
            raise ReferenceMissingError(
                f"record {record.sequence} leans on records of which one is lost or damaged here; send an I record"
            )

    def _holds(self, sequence: int) -> bool:
        return self._desk.store.holds(self.camera, self.epoch, sequence)

    def _sequence_of(self, packed: bytes, error: RecordError) -> int:
        """The sequence that a record claims; if it is damaged, only if that can be true, else the next one."""
        claimed = int.from_bytes(packed[:4], "little")
        if isinstance(error, ReferenceMissingError):
            return claimed
        following = self._last_sequence + 1
        return claimed if following <= claimed <= self._last_sequence + self._credit.most_records else following

    def _reject(self, sequence: int, size: int, error: RecordError) -> None:
        self._desk.metrics.records.labels(self.camera, "rejected").inc()
        missing = isinstance(error, ReferenceMissingError)
        reason = REJECT_REASON_REFERENCE_MISSING if missing else REJECT_REASON_DAMAGED
        self._rejections.say(type(error).__name__, f"camera {self.camera}: rejecting record {sequence}: {error}")
        self._last_sequence = max(self._last_sequence, sequence)
        self._send(
            Ack(
                state=ACK_STATE_REJECTED,
                first_sequence=sequence,
                last_sequence=sequence,
                reason=reason,
                detail=str(error),
            ),
            records=1,
            size=size,
        )

    def _persist(self) -> None:
        """Hands the store what has come, unless it is busy with earlier records of this stream: so their order is kept.

        In callbacks and not in a task: to wake one twice for each record costs an eighth of all that a record costs.
        """
        if self._busy:
            return
        if not self._pending:
            if self._input_over:
                self._outgoing.put_nowait(None)
            return
        header = self._pending[0][0]
        count = next((i for i, item in enumerate(self._pending) if item[0] is not header), len(self._pending))
        records = [raw for _, raw in self._pending[:count]]
        del self._pending[:count]
        self._busy, self._told = True, False
        self._later(RECEIVED_SECONDS, self._say_received, records)
        self._append(header, records)

    def _later(self, seconds: float, step: Callable[..., None], *arguments: Any) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._guarded, step, *arguments)

    def _append(self, header: StreamHeader, records: Sequence[RawRecord]) -> None:
        """Asks the store to take the records. It is asked again until it does; the credit bounds what waits."""
        self._appending = self._desk.commit.append(header, records)
        self._appending.add_done_callback(partial(self._guarded, self._appended, header, records))

    def _appended(
        self, header: StreamHeader, records: Sequence[RawRecord], appending: asyncio.Future[list[bool]]
    ) -> None:
        error = appending.exception()  # looked at in any case, else asyncio complains of one that nobody saw
        if self._over:
            return
        assert self._timer is not None
        self._timer.cancel()
        if isinstance(error, StorageError):
            self._refused(header, records, error)
            return
        if self._desk.problems.part("record store").clear():
            log.info("the record store takes records again")
        self._acknowledge(records, appending.result())
        self._busy = False
        self._persist()

    def _refused(self, header: StreamHeader, records: Sequence[RawRecord], error: StorageError) -> None:
        desk = self._desk
        desk.metrics.store_failures.labels(self.camera).inc()
        if desk.problems.part("record store").report(str(error)):
            log.error("not acknowledging, trying again every %g s: %s", desk.retry_seconds, error)
        if self._input_over:
            self._outgoing.put_nowait(error)
            return
        self._say_received(records)
        self._later(desk.retry_seconds, self._append, header, records)

    def _say_received(self, records: Sequence[RawRecord]) -> None:
        if self._told:
            return
        self._told = True
        for first, last in SequenceSet((raw.record.sequence, raw.record.sequence) for raw in records):
            self._send(Ack(state=ACK_STATE_RECEIVED, first_sequence=first, last_sequence=last))

    def _acknowledge(self, records: Sequence[RawRecord], outcomes: Sequence[bool]) -> None:
        now, metrics = self._desk.clock.now_us(), self._desk.metrics
        counted = {
            new: metrics.records.labels(self.camera, "persisted" if new else "duplicate") for new in set(outcomes)
        }
        took = metrics.capture_to_persisted.labels(self.camera)
        persisted = SequenceSet()
        for (record, _), new in zip(records, outcomes, strict=True):
            persisted.add(record.sequence)
            self._in_flight.discard(record.sequence)
            counted[new].inc()
            if new:
                took.observe(max(0, now - record.capture_us) / 1e6)
        settled, size = len(records), sum(len(packed) for _, packed in records)
        for first, last in persisted:
            ack = Ack(state=ACK_STATE_PERSISTED, first_sequence=first, last_sequence=last)
            detected = self._desk.detections.sequence(self.camera, self.epoch)
            if detected != self._last_detected:
                self._last_detected = ack.last_detected = detected
            self._send(ack, settled, size)
            settled = size = 0

    def _send(self, ack: Ack, records: int = 0, size: int = 0) -> None:
        self._outgoing.put_nowait(_Answer(ack, records, size))
