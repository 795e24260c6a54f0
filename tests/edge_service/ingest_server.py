"""A cloud for tests: a real gRPC server with a small, strict IngestService that holds an edge to the protocol. It
rejects P records whose reference it does not hold."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from icm.codec.bitstream.record import VERSION, Kind, Record, StreamHeader
from icm.errors import BusyError, CameraTakenError, CodecMismatchError
from icm.rpc.servers import MAX_MESSAGE_BYTES, Server
from icm.rpc.status import abort
from icm.v1 import archive_pb2, archive_pb2_grpc, frame_pb2, ingest_pb2, ingest_pb2_grpc

Response = ingest_pb2.StreamRecordsResponse
MISSING = ingest_pb2.REJECT_REASON_REFERENCE_MISSING


@dataclass
class Ingest(ingest_pb2_grpc.IngestServiceServicer, archive_pb2_grpc.ArchiveServiceServicer):
    """Keeps what it gets in memory. What tests may set, and what they may look at:

    Attributes:
        credit, credit_bytes: what Welcome promises.
        message_bytes: of the largest message that it takes, which it says.
        refuses: a codec id that is answered with FAILED_PRECONDITION.
        rejects, reason: sequences that are rejected, and why; as damaged ends the stream, as the cloud does it.
        damages: sequences that come damaged, each so many times.
        misnames: rejected sequences that the rejection calls by another number.
        breaks_after: ends a stream with UNAVAILABLE after so many records, without acknowledging the last batch.
        busy_seconds: the first streams are turned away as from a busy cloud, each for so long.
        withholds: sequences that are kept but never acknowledged.
        acknowledges_twice: says everything twice.
        acknowledges: while cleared, records are RECEIVED but not PERSISTED.
        records: by camera and epoch, then sequence.
        record_version: of the record format, the highest that it says to read.
        live: by camera, how many streams of each epoch there are.
        hellos: every Hello, in order.
        batches: records in each message, in order.
        hello_times: when each came, in monotonic seconds.
        last_acknowledged: highest sequence that was acknowledged as persisted.
        most_bytes_in_flight: bytes of the most unacknowledged records there ever were on a stream.
        most_in_flight: the most unacknowledged records there ever were on a stream.
        changed: notified after every message.
    """

    credit: int = 8
    credit_bytes: int = 1 << 20
    message_bytes: int = 20 << 20
    refuses: bytes = b""
    rejects: frozenset[int] = frozenset()
    reason: int = ingest_pb2.REJECT_REASON_DAMAGED
    damages: Counter[int] = field(default_factory=Counter)
    misnames: dict[int, int] = field(default_factory=dict)
    breaks_after: int | None = None
    busy_seconds: tuple[float, ...] = ()
    withholds: frozenset[int] = frozenset()
    acknowledges_twice: bool = False
    acknowledges: asyncio.Event = field(default_factory=asyncio.Event)
    records: dict[tuple[str, int], dict[int, Record]] = field(default_factory=dict)
    record_version: int = VERSION
    live: dict[str, Counter[int]] = field(default_factory=dict)
    hellos: list[ingest_pb2.Hello] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    hello_times: list[float] = field(default_factory=list)
    last_acknowledged: int = 0
    most_in_flight: int = 0
    most_bytes_in_flight: int = 0
    duplicates: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.acknowledges.set()

    def of(self, camera: str) -> list[Record]:
        """All records of a camera by epoch and sequence."""
        return [
            self.records[key][sequence]
            for key in sorted(self.records)
            if key[0] == camera
            for sequence in sorted(self.records[key])
        ]

    async def until(self, camera: str, count: int) -> list[Record]:
        """Waits until so many records of a camera are here."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.of(camera)) >= count)
        return self.of(camera)

    async def until_acknowledged(self, sequence: int) -> None:
        """Waits until this record was acknowledged."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: self.last_acknowledged >= sequence)

    async def until_hellos(self, count: int) -> None:
        """Waits until so many streams were opened."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.hellos) >= count)

    async def StreamRecords(self, request_iterator, context):  # type: ignore[no-untyped-def]
        hello = (await anext(request_iterator)).hello
        self.hellos.append(hello)
        self.hello_times.append(time.monotonic())
        await self._notify()
        live = self.live.setdefault(hello.camera, Counter())
        if live.keys() - {hello.epoch}:
            await abort(context, CameraTakenError(f"camera {hello.camera} is being sent under another epoch"))
        live[hello.epoch] += 1
        try:
            async for response in self._answers(hello, request_iterator, context):
                yield response
        finally:
            live[hello.epoch] -= 1
            self.live[hello.camera] = +live

    async def _answers(self, hello, request_iterator, context):  # type: ignore[no-untyped-def]
        if hello.codec_id == self.refuses:
            await abort(context, CodecMismatchError("this cloud has codec aa, the edge has codec bb: install bb"))
        if len(self.hellos) <= len(self.busy_seconds):
            await abort(context, BusyError("too much to do", self.busy_seconds[len(self.hellos) - 1]))
        stored = self.records.setdefault((hello.camera, hello.epoch), {})
        resume_after = max((n for n in stored if all(m in stored for m in range(min(stored), n + 1))), default=0)
        yield Response(
            welcome=ingest_pb2.Welcome(
                resume_after=resume_after,
                credit=self.credit,
                credit_bytes=self.credit_bytes,
                message_bytes=self.message_bytes,
                highest=max(stored, default=0),
                record_version=self.record_version,
            )
        )
        header: StreamHeader | None = None
        got = 0
        in_flight = bytes_in_flight = 0
        async for request in request_iterator:
            batch = request.batch
            if batch.stream_header:
                header, _ = StreamHeader.parse(batch.stream_header)
                assert header.codec_id == hello.codec_id
            assert header is not None, "the first batch of a stream must carry a header"
            new = [Record.parse_whole(data, header) for data in batch.records]
            self.batches.append(len(new))
            got += len(new)
            in_flight += len(new)
            self.most_in_flight = max(self.most_in_flight, in_flight)
            bytes_in_flight += sum(map(len, batch.records))
            self.most_bytes_in_flight = max(self.most_bytes_in_flight, bytes_in_flight)
            orphans = set()
            damaged = next((place for place, record in enumerate(new, 1) if self._comes_damaged(record.sequence)), 0)
            if damaged:
                self.damages[new[damaged - 1].sequence] -= 1
            for record in new[: damaged - 1] if damaged else new:
                if record.kind is Kind.P and record.sequence - record.reference not in stored:
                    orphans.add(record.sequence)
                elif record.sequence not in self.rejects:
                    self.duplicates += record.sequence in stored
                    stored[record.sequence] = record
            await self._notify()
            if self.breaks_after is not None and got >= self.breaks_after:
                self.breaks_after = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
            yield _ack(ingest_pb2.ACK_STATE_RECEIVED, new[0].sequence, new[-1].sequence)
            await self.acknowledges.wait()
            for place, (record, packed) in enumerate(zip(new, batch.records, strict=True), 1):
                # Once one came damaged there is no time to tell of those before it: the next Welcome does.
                if record.sequence in self.withholds or (damaged and place != damaged):
                    continue
                rejected = place == damaged or record.sequence in self.rejects | orphans
                state = ingest_pb2.ACK_STATE_REJECTED if rejected else ingest_pb2.ACK_STATE_PERSISTED
                name = self.misnames.get(record.sequence, record.sequence)
                for _ in range(1 + self.acknowledges_twice):
                    yield _ack(state, name, name, MISSING if record.sequence in orphans else self.reason)
                in_flight -= 1
                bytes_in_flight -= len(packed)
                self.last_acknowledged = record.sequence
                if place == damaged:
                    await abort(context, BusyError("a record came damaged", 0.0))
            await self._notify()

    async def GetDetections(self, request, context):  # type: ignore[no-untyped-def]
        person = frame_pb2.Detection(class_name="person", score=0.9, left=1, top=2, right=3, bottom=4)
        found = frame_pb2.FrameDetections(frame=request.frame, model="made-up", detections=[person])
        return archive_pb2.GetDetectionsResponse(detections=found)

    def _comes_damaged(self, sequence: int) -> bool:
        rejected = sequence in self.rejects and self.reason == ingest_pb2.REJECT_REASON_DAMAGED
        return rejected or self.damages[sequence] > 0

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def _ack(state: ingest_pb2.AckState, first: int, last: int, rejection: int | None = None) -> Response:
    reason = rejection if state == ingest_pb2.ACK_STATE_REJECTED else None
    detail = "" if reason is None else "send an I record" if reason == MISSING else "its checksum does not fit"
    return Response(
        ack=ingest_pb2.Ack(
            state=state,
            first_sequence=first,
            last_sequence=last,
            reason=reason,  # type: ignore[arg-type]
            detail=detail,
        )
    )


@asynccontextmanager
async def serving(ingest: Ingest, port: int = 0) -> AsyncIterator[int]:
    """Serves on loopback; gives the port."""
    # A cloud from before it said so took as much as any other.
    most = ingest.message_bytes or MAX_MESSAGE_BYTES
    server = Server(f"127.0.0.1:{port}", allow_plaintext=False, message_bytes=most)
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(ingest, server.grpc)
    archive_pb2_grpc.add_ArchiveServiceServicer_to_server(ingest, server.grpc)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(0)
