"""The ingest: takes records from edges and says what became of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from cloud_service.access.access import ANYBODY, Access
from cloud_service.ingest.camera_stream import CameraStream, IngestContext
from icm.errors import BusyError, CameraTakenError, IcmError, ProtocolError
from icm.rpc.status import abort
from icm.v1.ingest_pb2 import Hello, StreamRecordsRequest, StreamRecordsResponse
from icm.v1.ingest_pb2_grpc import IngestServiceServicer

log = logging.getLogger(__name__)
DRAIN_SECONDS = 3.0
HELLO_SECONDS = 10.0
"""Longest wait for a stream's Hello: who opens streams and says nothing must not hold them for ever. No setting, as the
edge's wait for the Welcome is none: it suits every link over which records could be sent."""


class IngestService(IngestServiceServicer):
    """One stream per camera at a time. An edge that comes back takes over from its own old stream, which may be a dead
    connection's remains; another edge is refused while the camera's stream lives.
    """

    def __init__(self, context: IngestContext, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            access: who may send which camera.
        """
        self._context, self._access = context, access
        self._streams: dict[str, CameraStream] = {}
        self._draining = False

    async def StreamRecords(
        self, request_iterator: AsyncIterator[StreamRecordsRequest], context: Any
    ) -> AsyncIterator[StreamRecordsResponse]:
        """See ingest.proto."""
        try:
            caller = self._access.caller(context)
            caller.check_delivers_any()
            hello = await _hello(request_iterator)
            caller.check_delivers(hello.camera)
            stream = CameraStream(self._context, hello, context.peer())
            self._enter(stream)
            try:
                async with aclosing(stream.run(request_iterator)) as responses:
                    async for response in responses:
                        yield response
            finally:
                self._leave(stream)
        except IcmError as error:
            log.warning("ending the stream of %s: %s", context.peer(), error)
            await abort(context, error)

    async def drain(self) -> None:
        """Takes no more records; returns when the streams have acknowledged what came and ended.

        A client that reads no answers holds this up for ``DRAIN_SECONDS`` only.
        """
        self._draining = True
        streams = list(self._streams.values())
        for stream in streams:
            stream.end_input()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.gather(*(stream.ended.wait() for stream in streams))

    def _enter(self, stream: CameraStream) -> None:
        if self._draining:
            raise BusyError("this cloud is stopping; connect again later")
        older = self._streams.get(stream.camera)
        if older is not None and older.epoch != stream.epoch:
            raise CameraTakenError(
                f"camera {stream.camera!r} is being sent from {older.peer} (epoch {older.epoch}), so {stream.peer}"
                f" (epoch {stream.epoch}) cannot send it too: give one of the two edges' cameras another name"
            )
        if older is not None:
            older.fail(BusyError(f"a newer stream of camera {stream.camera!r} took over, from {stream.peer}"))
        self._streams[stream.camera] = stream

    def _leave(self, stream: CameraStream) -> None:
        if self._streams.get(stream.camera) is stream:
            del self._streams[stream.camera]


async def _hello(requests: AsyncIterator[StreamRecordsRequest]) -> Hello:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            first = await anext(aiter(requests), None)
    except TimeoutError:
        raise ProtocolError(f"no Hello came within {HELLO_SECONDS:g} s") from None
    if first is None or first.WhichOneof("message") != "hello":
        raise ProtocolError("the first message of a stream must be a Hello")
    return first.hello
