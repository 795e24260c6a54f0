"""A client of the ingest as tests need it: says exactly what it is told to, and waits for answers."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from icm.codec.bitstream.record import Record, StreamHeader
from icm.v1.ingest_pb2 import (
    ACK_STATE_PERSISTED,
    ACK_STATE_REJECTED,
    Ack,
    AckState,
    Hello,
    RecordBatch,
    StreamRecordsRequest,
    StreamRecordsResponse,
    Welcome,
)
from icm.v1.ingest_pb2_grpc import IngestServiceStub


class Uplink:
    """One open stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = IngestServiceStub(channel).StreamRecords()
        self.acks: list[Ack] = []

    async def hello(self, header: StreamHeader, last_persisted: int = 0) -> Welcome:
        hello = Hello(camera=header.camera, epoch=header.epoch, codec_id=header.codec_id, last_persisted=last_persisted)
        await self.call.write(StreamRecordsRequest(hello=hello))
        return (await self._read()).welcome

    async def send(
        self, header: StreamHeader | bytes | None, records: Iterable[Record | bytes], of: StreamHeader
    ) -> None:
        """Args: header, to put into the batch; of, the header that the records are packed for."""
        packed = [record if isinstance(record, bytes) else record.pack(of) for record in records]
        stream_header = header.pack() if isinstance(header, StreamHeader) else header
        batch = RecordBatch(stream_header=stream_header, records=packed)
        await self.call.write(StreamRecordsRequest(batch=batch))

    async def until(self, sequence: int) -> Ack:
        """Reads on until the record's fate is known."""
        while True:
            ack = (await self._read()).ack
            self.acks.append(ack)
            if (
                ack.state in (ACK_STATE_PERSISTED, ACK_STATE_REJECTED)
                and ack.first_sequence <= sequence <= ack.last_sequence
            ):
                return ack

    async def close(self) -> None:
        """Ends the stream in order and reads its last answers."""
        await self.call.done_writing()
        while isinstance(answer := await self.call.read(), StreamRecordsResponse):
            self.acks.append(answer.ack)

    async def failure(self) -> grpc.aio.AioRpcError:
        """How the cloud ended the stream, which it must."""
        try:
            while True:
                self.acks.append((await self._read()).ack)
        except grpc.aio.AioRpcError as error:
            return error

    def ranges(self, state: AckState.ValueType) -> list[tuple[int, int]]:
        """What the answers so far say got that far."""
        return [(ack.first_sequence, ack.last_sequence) for ack in self.acks if ack.state == state]

    async def _read(self) -> StreamRecordsResponse:
        answer = await self.call.read()
        assert isinstance(answer, StreamRecordsResponse), "the stream ended, without an error"
        return answer
