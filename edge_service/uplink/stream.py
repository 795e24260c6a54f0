"""One StreamRecords call: Hello and Welcome, records under credit, acknowledgements."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from edge_service.losses import DropReason
from edge_service.metrics import EdgeMetrics
from edge_service.proof.sealing import Sealer
from edge_service.spool.camera_spool import Batch, CameraSpool
from icm.codec.bitstream.record import VERSION, StreamHeader
from icm.errors import UplinkError
from icm.service.clock import Clock
from icm.service.log_limit import LogLimit
from icm.v1 import ingest_pb2

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[ingest_pb2.StreamRecordsRequest, ingest_pb2.StreamRecordsResponse]

_log = logging.getLogger(__name__)

WELCOME_SECONDS = 10.0
"""Longest wait for the cloud's Welcome."""
BATCH_BYTES = 1 << 20
"""Records that share a message, in bytes; a single larger one travels alone."""
MOST_RESENDS = 4
"""How often a record is sent again that the cloud calls damaged and that is whole here."""
CLOCK_SECONDS = 60.0
"""How often the cloud gets this edge's time."""

_REJECTIONS = {
    ingest_pb2.REJECT_REASON_DAMAGED: DropReason.REJECTED_DAMAGED,
    ingest_pb2.REJECT_REASON_REFERENCE_MISSING: DropReason.REJECTED_REFERENCE_MISSING,
}


def _framing(records: int) -> int:
    """Bytes of a message beside so many records, at most."""
    return 1024 + 8 * records


@dataclass
class _Message:
    """When it was sent, in monotonic seconds, its records' bytes, and how many of them are not settled."""

    sent: float
    size: int
    unsettled: int


class _InFlight(NamedTuple):
    """The message that a record was sent in, and the record's size in bytes."""

    message: _Message
    size: int


def kind_of(batch: Batch) -> tuple[bytes, int]:
    """Codec and epoch of records: what all on one stream have in common."""
    header = StreamHeader.parse(batch.header)[0]
    return header.codec_id, header.epoch


class RecordStream:
    """The edge's half of a call: ``greet`` first, then ``send`` and ``receive`` side by side."""

    def __init__(
        self,
        call: Call,
        spool: CameraSpool,
        codec_id: bytes,
        epoch: int,
        metrics: EdgeMetrics,
        work: asyncio.Event,
        settle: Callable[[int, int, UplinkError | None], Awaitable[None]],
        batch_seconds: float,
        flush_now: asyncio.Event,
        acknowledged: Callable[[int, float], None],
        rejections: LogLimit,
        resent: Counter[int],
        clock: Clock,
        witness: Callable[[str, str], None],
        sealer: Sealer | None,
    ) -> None:
        """Creates the stream of one call.

        Args:
            codec_id: of all records that this stream may carry.
            epoch: of all records that this stream may carry.
            work: set when there are new records in the spool; set here too when credit comes back.
            settle: called with the first and last of sequences that the cloud has persisted, or rejected with an error.
            batch_seconds: how long a record waits for others to share its message.
            flush_now: while set, no record waits.
            acknowledged: called with how many bytes the cloud is done with, in whole messages, and when the first was
                sent.
            rejections: where they are logged, a kind for each reason.
            resent: how often each sequence was called damaged, on earlier streams too.
            witness: called, on a thread, with the camera and a head of its chain that the cloud shows.
            sealer: of the camera's records; None: they get no seals.
        """
        self._call, self._spool, self._kind, self._metrics = call, spool, (codec_id, epoch), metrics
        self._work, self._settle = work, settle
        self._batch_seconds, self._flush_now, self._acknowledged = batch_seconds, flush_now, acknowledged
        self._rejections, self._resent, self._clock = rejections, resent, clock
        self._witness, self._sealer, self._keeps_seals = witness, sealer, False
        self._last_batch, self._last_records = -math.inf, 1
        self._more = False
        self._credit = 0
        self._credit_bytes = 0
        self._message_bytes = 0
        self._last_sent = self._last_rejected = 0
        self._in_flight: dict[int, _InFlight] = {}
        self._clock_told = -math.inf

    async def greet(self) -> bool:
        """Says Hello and takes the Welcome.

        Returns:
            Whether the stream can be used; not if the cloud has records of this epoch that this spool never sent. Then
            it went back in time, and a new epoch has begun.

        Raises:
            UplinkError: the answer is none that this edge can go on from.
            grpc.aio.AioRpcError: the call failed.
        """
        spool, (codec_id, epoch) = self._spool, self._kind
        last_persisted = await asyncio.to_thread(spool.last_persisted)
        hello = ingest_pb2.Hello(
            camera=spool.name,
            epoch=epoch,
            codec_id=codec_id,
            last_persisted=last_persisted,
            send_time=self._now(),
            seal_key=self._sealer.public_key if self._sealer is not None else b"",
        )
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                await self._write(ingest_pb2.StreamRecordsRequest(hello=hello))
                answer = await self._read()
        except TimeoutError:
            raise UplinkError(f"the cloud did not answer Hello within {WELCOME_SECONDS:g} s") from None
        welcome = answer.welcome if answer is not None else ingest_pb2.Welcome()
        if not (welcome.credit and welcome.credit_bytes):
            raise UplinkError("the cloud answered Hello with no Welcome: does it speak this version of the protocol?")
        if welcome.record_version < VERSION:
            # A cloud from before it said so reads version 2.
            raise UplinkError(
                f"the cloud reads records up to format version {welcome.record_version or 2}, this edge makes version"
                f" {VERSION}: bring the cloud up to date; records wait here until then"
            )
        if not welcome.message_bytes:
            raise UplinkError("the cloud's Welcome does not say how large a message may be: bring the cloud up to date")
        highest = max(welcome.highest, welcome.resume_after)
        # What waits of an earlier epoch was called so before the spool went back: the cloud has the very same frames.
        if epoch == spool.epoch and highest > spool.sent:
            sent = spool.sent
            await asyncio.to_thread(spool.begin_epoch)
            _log.error(
                "camera %s: the cloud holds records up to %d of epoch %d, but this spool sent none after %d: it went"
                " back in time, as by a copy; epoch %d begins",
                spool.name,
                highest,
                epoch,
                sent,
                spool.epoch,
            )
            await self._end()
            return False
        resume_after = min(welcome.resume_after, await asyncio.to_thread(spool.end_of_epoch, epoch))
        self._credit, self._credit_bytes, self._last_sent = welcome.credit, welcome.credit_bytes, resume_after
        self._message_bytes, self._keeps_seals = welcome.message_bytes, welcome.keeps_seals
        if self._sealer is not None:
            self._sealer.begin(epoch)
            self._sealer.settled(1, resume_after, True)
        await self._settle(1, resume_after, None)
        return True

    async def send(self) -> None:
        """Sends what is in the spool and what comes into it. Returns when the next record needs another stream.

        Raises:
            UplinkError: the cloud takes no message as large as the next record needs.
        """
        last_header = b""
        while True:
            # Cleared before looking, so that what comes while looking is not missed.
            self._work.clear()
            batch = await self._next_batch()
            foreign = batch is not None and kind_of(batch) != self._kind
            if foreign and not self._in_flight:
                if last_header and self._seal_seconds() is not None:
                    await self._write(self._sealed(ingest_pb2.RecordBatch()))
                await self._end()
                return
            if batch is None or foreign:
                await self._wait_or_seal(bool(last_header))
                continue
            batch = await self._gathered(batch)
            message = ingest_pb2.RecordBatch(records=[record for _, record in batch.records])
            if batch.header != last_header:
                message.stream_header = last_header = batch.header
            now = self._clock.monotonic()
            if now - self._clock_told >= CLOCK_SECONDS:
                message.send_time.CopyFrom(self._now())
            due = self._seal_seconds() == 0
            request = self._sealed(message) if due else ingest_pb2.StreamRecordsRequest(batch=message)
            self._check_size(request)
            if self._sealer is not None:
                for sequence, record in batch.records:
                    self._sealer.sent(batch.header, sequence, record)
            sent = _Message(now, sum(len(record) for _, record in batch.records), len(batch.records))
            self._in_flight.update((sequence, _InFlight(sent, len(record))) for sequence, record in batch.records)
            self._last_sent = batch.records[-1][0]
            self._spool.sent = max(self._spool.sent, self._last_sent)
            await self._write(request)

    async def receive(self) -> None:
        """Takes acknowledgements until the cloud ends the stream, or lacks what a record refers to."""
        while (answer := await self._read()) is not None:
            ack = answer.ack
            if ack.chain_head:
                await asyncio.to_thread(self._witness, self._spool.name, ack.chain_head)
            if ack.state not in (ingest_pb2.ACK_STATE_PERSISTED, ingest_pb2.ACK_STATE_REJECTED):
                continue
            done = sorted(s for s in self._in_flight if ack.first_sequence <= s <= ack.last_sequence)
            if ack.state == ingest_pb2.ACK_STATE_REJECTED and ack.last_sequence > self._last_rejected:
                self._last_rejected = ack.last_sequence
                # Where the cloud could not read which one it was, it named the one after the last that it could read.
                done = done or sorted(s for s in self._in_flight if s > ack.last_sequence)[:1]
            if not done:
                continue
            if ack.reason == ingest_pb2.REJECT_REASON_DAMAGED and await self._again(done):
                # With a new header too: it may be what was damaged. What was acknowledged is not sent again.
                return
            self._tell(done)
            if self._sealer is not None:
                self._sealer.settled(done[0], done[-1], ack.state == ingest_pb2.ACK_STATE_PERSISTED)
            error = self._rejection(ack, done) if ack.state == ingest_pb2.ACK_STATE_REJECTED else None
            # What lies between the first and the last and was not in flight was settled before.
            await self._settle(done[0], done[-1], error)
            if ack.last_detected:
                await asyncio.to_thread(self._spool.detected, ack.last_detected)
            if ack.reason == ingest_pb2.REJECT_REASON_REFERENCE_MISSING:
                # What follows in flight refers to it too. The next stream starts with an I record.
                await asyncio.to_thread(self._spool.restart_at_intra, done[-1])
                return
            # Only now: the sender may end the stream as soon as nothing is in flight.
            for sequence in done:
                del self._in_flight[sequence]
            self._work.set()

    def _seal_seconds(self) -> float | None:
        """How long until a seal is due; None while there is nothing to seal, or nobody who keeps seals."""
        return self._sealer.due_seconds() if self._sealer is not None and self._keeps_seals else None

    def _sealed(self, message: ingest_pb2.RecordBatch) -> ingest_pb2.StreamRecordsRequest:
        """The message with a seal over what was persisted."""
        assert self._sealer is not None
        message.seal.CopyFrom(self._sealer.take(self._last_sent))
        return ingest_pb2.StreamRecordsRequest(batch=message)

    async def _wait_or_seal(self, may_seal: bool) -> None:
        """Waits for work; a seal that is due meanwhile goes alone.

        Args:
            may_seal: whether the stream has had its first batch.
        """
        due = self._seal_seconds() if may_seal else None
        if due is None:
            await self._work.wait()
        elif due == 0:
            await self._write(self._sealed(ingest_pb2.RecordBatch()))
        else:
            await self._first_of(self._clock.sleep(due), self._work.wait())

    async def _again(self, rejected: list[int]) -> bool:
        """Whether records that came damaged are to be sent again: they are whole here, and were not sent too often."""
        # Counted here and not on the spool's thread, which may outlive this stream: the next one counts too.
        self._resent.update(rejected)
        if any(self._resent[sequence] > MOST_RESENDS for sequence in rejected):
            return False
        if not await asyncio.to_thread(lambda: all(map(self._spool.whole, rejected))):
            return False
        self._rejections.say(
            "resent",
            f"camera {self._spool.name}: records {rejected[0]} to {rejected[-1]} were damaged on their way and are sent"
            " again",
        )
        return True

    def _tell(self, settled: list[int]) -> None:
        """Says how long records took, and what the link carried: whole messages, as it takes their parts together."""
        now, size, first = self._clock.monotonic(), 0, math.inf
        for sequence in settled:
            message = self._in_flight[sequence].message
            self._metrics.stage_seconds.labels(self._spool.name, "uplink").observe(now - message.sent)
            message.unsettled -= 1
            if not message.unsettled:
                size, first = size + message.size, min(first, message.sent)
        if size:
            self._acknowledged(size, first)

    async def _gathered(self, batch: Batch) -> Batch:
        """The batch with what came while it waited; it does not wait where there is more already, nor where records
        come too slowly for it.
        """
        now = self._clock.monotonic()
        interval = (now - self._last_batch) / self._last_records
        if interval < self._batch_seconds and not self._more:
            await self._held_back()
            batch = await self._next_batch() or batch
        self._last_batch, self._last_records = now, len(batch.records)
        return batch

    async def _held_back(self) -> None:
        """Waits for others to share a message with, unless or until there is a hurry."""
        await self._first_of(self._clock.sleep(self._batch_seconds), self._flush_now.wait())

    async def _first_of(self, *waits: Coroutine[Any, Any, object]) -> None:
        tasks = [asyncio.create_task(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _next_batch(self) -> Batch | None:
        """What to send next, as far as the credit goes."""
        # What is in flight changes with every acknowledgement, so it is looked at here and not on the spool's thread.
        free = self._credit - len(self._in_flight)
        free_bytes = self._credit_bytes - sum(record.size for record in self._in_flight.values())
        if free <= 0 or free_bytes <= 0:
            return None
        # What comes while it is read must not look as if it had not found room.
        following = self._spool.next_sequence
        most = min(BATCH_BYTES, free_bytes, self._message_bytes - _framing(free))
        batch = await asyncio.to_thread(self._spool.read, self._last_sent, free, most)
        self._more = batch is not None and batch.records[-1][0] + 1 < following
        # A batch is never empty, so its one record may be too large; it goes once nothing else is under way.
        if batch is not None and self._in_flight and sum(len(record) for _, record in batch.records) > free_bytes:
            return None
        return batch

    def _check_size(self, request: ingest_pb2.StreamRecordsRequest) -> None:
        if (size := request.ByteSize()) > self._message_bytes:
            raise UplinkError(
                f"a record needs a message of {size} bytes, and the cloud takes {self._message_bytes}: raise its"
                " setting ingest.limits.message_bytes; until then this camera's records wait here"
            )

    def _now(self) -> Timestamp:
        """The wall clock, for the cloud to compare with its own."""
        self._clock_told = self._clock.monotonic()
        now = Timestamp()
        now.FromMicroseconds(self._clock.now_us())
        return now

    def _rejection(self, ack: ingest_pb2.Ack, sequences: list[int]) -> UplinkError:
        reason = _REJECTIONS.get(ack.reason, DropReason.REJECTED_UNSPECIFIED)
        self._metrics.losses.records(self._spool.name, reason, len(sequences))
        text = f"the cloud rejected records {sequences[0]} to {sequences[-1]} ({reason}): {ack.detail}"
        self._rejections.say(reason, f"camera {self._spool.name}: {text}")
        return UplinkError(text)

    async def _end(self) -> None:
        """Ends the stream in order: while the cloud has it, it takes no other epoch of the camera."""
        await self._call.done_writing()
        with suppress(TimeoutError):
            async with asyncio.timeout(WELCOME_SECONDS):
                await self._call.code()

    async def _write(self, request: ingest_pb2.StreamRecordsRequest) -> None:
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            await self._raise_status()

    async def _read(self) -> ingest_pb2.StreamRecordsResponse | None:
        answer = await self._call.read()
        return answer if isinstance(answer, ingest_pb2.StreamRecordsResponse) else None

    async def _raise_status(self) -> NoReturn:
        """A write to a call that is over says nothing about why; the call's status does."""
        call = self._call
        raise grpc.aio.AioRpcError(
            await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
        )
