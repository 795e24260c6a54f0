"""A camera without an edge: sends coded frames to a cloud at a steady pace and measures when they are persisted."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from icm.codec.bitstream.record import StreamHeader
from icm.codec.encoder import CodedFrame
from icm.errors import UplinkError
from icm.v1.ingest_pb2 import ACK_STATE_PERSISTED, Hello, RecordBatch, StreamRecordsRequest, StreamRecordsResponse
from icm.v1.ingest_pb2_grpc import IngestServiceStub


@dataclass
class Measured:
    """What all cameras of a run saw, from the moment on that ``since`` tells.

    Attributes:
        since: monotonic seconds; what was due before is not counted.
        latencies: seconds from when a record was due until it was known to be persisted.
        bytes: of those records.
    """

    since: float = float("inf")
    latencies: list[float] = field(default_factory=list)
    bytes: int = 0


class SimulatedCamera:
    """One stream. A record is due at fixed times, whether or not the ones before it were acknowledged."""

    def __init__(
        self, name: str, frames: Sequence[CodedFrame], size: tuple[int, int], codec_id: bytes, measured: Measured
    ) -> None:
        """Creates a camera that sends nothing yet.

        Args:
            frames: sent over and over.
            size: width and height of the frames.
        """
        self._frames, self._measured = frames, measured
        now_us = time.time_ns() // 1000
        self._header = StreamHeader(codec_id, name, now_us, now_us - 60_000_000, *size)
        self._due: dict[int, tuple[float, int]] = {}
        self._credit = asyncio.Semaphore(0)

    async def run(self, channel: grpc.aio.Channel, records_per_second: float, delay: float) -> None:
        """Sends until it is cancelled, from ``delay`` seconds on.

        Raises:
            UplinkError: the cloud ended the stream.
        """
        call = IngestServiceStub(channel).StreamRecords()
        header = self._header
        hello = Hello(camera=header.camera, epoch=header.epoch, codec_id=header.codec_id)
        await call.write(StreamRecordsRequest(hello=hello))
        welcome = await call.read()
        assert isinstance(welcome, StreamRecordsResponse)
        for _ in range(welcome.welcome.credit):
            self._credit.release()
        sending = asyncio.create_task(self._send(call, 1 / records_per_second, delay))
        try:
            while isinstance(answer := await call.read(), StreamRecordsResponse):
                if answer.ack.state == ACK_STATE_PERSISTED:
                    self._settle(answer.ack.first_sequence, answer.ack.last_sequence)
            raise UplinkError(f"the cloud ended the stream of {header.camera}: {await call.details()}")
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            call.cancel()

    async def _send(
        self, call: grpc.aio.StreamStreamCall[StreamRecordsRequest, StreamRecordsResponse], period: float, delay: float
    ) -> None:
        start = time.monotonic() + delay
        packed_header = self._header.pack()
        for sequence in itertools.count(1):
            due = start + (sequence - 1) * period
            await asyncio.sleep(due - time.monotonic())
            await self._credit.acquire()
            frame = self._frames[(sequence - 1) % len(self._frames)]
            record = frame.record(sequence, time.time_ns() // 1000).pack(self._header)
            self._due[sequence] = due, len(record)
            batch = RecordBatch(stream_header=packed_header, records=[record])
            packed_header = b""
            await call.write(StreamRecordsRequest(batch=batch))

    def _settle(self, first: int, last: int) -> None:
        now = time.monotonic()
        for sequence in range(first, last + 1):
            due, size = self._due.pop(sequence)
            self._credit.release()
            if due >= self._measured.since:
                self._measured.latencies.append(now - due)
                self._measured.bytes += size
