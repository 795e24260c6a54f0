"""An ingest that keeps nothing: it says of every record that it is persisted, after as long as records wait for others.
What it costs is what gRPC costs.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

from cloud_service.settings import IngestSettings
from icm.codec.bitstream.record import VERSION
from icm.rpc.servers import Server
from icm.v1.ingest_pb2 import ACK_STATE_PERSISTED, Ack, StreamRecordsRequest, StreamRecordsResponse, Welcome
from icm.v1.ingest_pb2_grpc import IngestServiceServicer, add_IngestServiceServicer_to_server


class NullIngest(IngestServiceServicer):
    """Takes records of epochs that begin with sequence 1, one a message, as simulated cameras send them."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._group: list[tuple[asyncio.Queue[Ack], Ack]] = []

    async def StreamRecords(
        self, request_iterator: AsyncIterator[StreamRecordsRequest], context: Any
    ) -> AsyncIterator[StreamRecordsResponse]:
        acks: asyncio.Queue[Ack] = asyncio.Queue()
        await anext(aiter(request_iterator))
        yield StreamRecordsResponse(
            welcome=Welcome(
                credit=self._settings.credit,
                credit_bytes=self._settings.credit_bytes,
                message_bytes=self._settings.limits.message_bytes,
                record_version=VERSION,
            )
        )
        receiving = asyncio.create_task(self._receive(request_iterator, acks))
        try:
            while True:
                yield StreamRecordsResponse(ack=await acks.get())
        finally:
            receiving.cancel()

    async def _receive(self, requests: AsyncIterator[StreamRecordsRequest], acks: asyncio.Queue[Ack]) -> None:
        sequence = 0
        async for _ in requests:
            sequence += 1
            if not self._group:
                asyncio.get_running_loop().call_later(self._settings.group_delay_seconds, self._answer)
            ack = Ack(state=ACK_STATE_PERSISTED, first_sequence=sequence, last_sequence=sequence)
            self._group.append((acks, ack))

    def _answer(self) -> None:
        group, self._group = self._group, []
        for acks, ack in group:
            acks.put_nowait(ack)


async def serve() -> None:
    """Serves for ever; prints its port."""
    settings = IngestSettings()
    server = Server("127.0.0.1:0", False, None, (), settings.limits.message_bytes, settings.limits.streams)
    add_IngestServiceServicer_to_server(NullIngest(settings), server.grpc)
    await server.start()
    gc.freeze()  # as cloud_service.app does
    print(server.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
