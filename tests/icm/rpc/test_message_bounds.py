"""What comes is bounded while it still is bytes, and who calls is known before anything of it is parsed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from icm.errors import BusyError, PermissionDeniedError, ProtocolError
from icm.rpc.call_guard import CallGuard, CallWatch
from icm.rpc.channels import open_channel
from icm.rpc.message_bounds import MOST_FIELDS, MessageRoom, check_fields
from icm.rpc.servers import Server
from icm.rpc.status import reason_of, retry_seconds_of
from icm.v1 import archive_pb2, archive_pb2_grpc, camera_pb2, ingest_pb2, ingest_pb2_grpc

RECORDS = ingest_pb2.StreamRecordsRequest.DESCRIPTOR
EMPTY_RECORD, EMPTY_BATCH = b"\x12\x00", b"\x12\x00"


def batch(inside: bytes) -> bytes:
    """A request with a batch of these bytes."""
    size, length = len(inside), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return b"\x12" + length + bytes([size]) + inside


MANY = 9 * MOST_FIELDS
BOMBS = {
    "empty records": batch(EMPTY_RECORD * MANY),
    "batches of one empty record, which parsing puts together": batch(EMPTY_RECORD) * MANY,
    "empty batches": EMPTY_BATCH * MANY,
    "times in a batch": batch(b"\x1a\x00" * MANY),
    "unknown numbers": b"\x78\x00" * MANY,
    "unknown texts": b"\x7a\x00" * MANY,
    "unknown groups": b"\x7b\x7c" * MANY,
    "unknown values of 32 and 64 bits": (b"\x7d" + bytes(4) + b"\x79" + bytes(8)) * MANY,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_message_of_too_many_values_is_refused_whatever_they_are(bomb: bytes) -> None:
    ingest_pb2.StreamRecordsRequest.FromString(bomb)  # nothing but their number is wrong with them
    with pytest.raises(ProtocolError, match=f"more than {MOST_FIELDS} values"):
        check_fields(bomb, RECORDS)


def test_the_largest_credit_fits() -> None:
    records = ingest_pb2.RecordBatch(stream_header=bytes(80), records=[bytes(30)] * 4096)
    check_fields(ingest_pb2.StreamRecordsRequest(batch=records).SerializeToString(), RECORDS)


@given(st.lists(st.binary(max_size=300), max_size=20), st.binary(max_size=20), st.integers(0, 4))
def test_values_are_counted_through_all_messages_of_a_message(records: list[bytes], header: bytes, spare: int) -> None:
    message = ingest_pb2.StreamRecordsRequest(
        batch=ingest_pb2.RecordBatch(records=records, stream_header=header, send_time={"seconds": 1, "nanos": 2})
    )
    values = 1 + len(records) + bool(header) + 3
    check_fields(message.SerializeToString(), RECORDS, values + spare)
    with pytest.raises(ProtocolError):
        check_fields(message.SerializeToString(), RECORDS, values - 1)


@given(st.binary(max_size=60))
def test_of_any_bytes_what_is_a_message_of_few_values_passes(data: bytes) -> None:
    kind = camera_pb2.SubmitFrameRequest
    data += b"\x7a\x80\x01" + bytes(128)  # one more value, so long that all must be walked over
    try:
        kind.FromString(data)
    except DecodeError:
        with suppress(ProtocolError):  # and no other
            check_fields(data, kind.DESCRIPTOR, 61)
    else:
        check_fields(data, kind.DESCRIPTOR, 61)


def test_messages_beyond_the_room_for_all_are_told_to_come_back() -> None:
    room = MessageRoom(100)
    with room.held("a", 40), room.held("b", 40):
        with room.held("c", 20), pytest.raises(BusyError, match="messages of 100 bytes"), room.held("d", 1):
            pass
        with room.held("d", 20):
            pass
    with room.held("a", 1000):  # one always finds room: its own size is bounded elsewhere
        pass


def test_no_client_takes_more_than_half_of_the_room() -> None:
    room = MessageRoom(100)
    with room.held("a", 30):
        with room.held("a", 20), pytest.raises(BusyError, match="50 of them a's"), room.held("a", 1):
            pass
        with room.held("b", 50), room.held("a", 20):
            pass
    assert not room._clients


class Archive(archive_pb2_grpc.ArchiveServiceServicer):
    """Answers when it may, and counts."""

    def __init__(self) -> None:
        self.asked, self.may = 0, asyncio.Event()

    async def ListSegments(self, request: Any, context: Any) -> archive_pb2.ListSegmentsResponse:
        self.asked += 1
        await self.may.wait()
        return archive_pb2.ListSegmentsResponse()


class Refusing(CallGuard):
    """Lets nobody in."""

    @asynccontextmanager
    async def watch(self, context: Any) -> AsyncIterator[CallWatch]:
        raise PermissionDeniedError("nobody may call")
        yield


@asynccontextmanager
async def served(*guards: CallGuard) -> AsyncIterator[tuple[Archive, grpc.aio.Channel]]:
    server, archive = Server("127.0.0.1:0", False, guards=guards, message_bytes=1 << 20), Archive()
    archive_pb2_grpc.add_ArchiveServiceServicer_to_server(archive, server.grpc)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", False) as channel:
        yield archive, channel
    await server.stop(0)


def sent(channel: grpc.aio.Channel, method: str, data: bytes) -> Any:
    return channel.unary_unary(method, None, None)(data)


async def test_a_caller_that_is_refused_has_nothing_parsed() -> None:
    async with served(Refusing()) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sent(channel, "/icm.v1.ArchiveService/ListSegments", b"\xff this is no message")
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def nothing() -> AsyncIterator[bytes]:
    """Messages of a client that sends none and does not end."""
    await asyncio.Event().wait()
    yield b""


async def test_a_caller_that_is_refused_is_told_before_its_message_is_taken() -> None:
    async with served(Refusing()) as (_, channel):
        call = channel.stream_unary("/icm.v1.ArchiveService/ListSegments", None, None)(nothing())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_call_that_ends_before_its_message_came_is_told_so() -> None:
    async with served() as (archive, channel):
        call = channel.stream_unary("/icm.v1.ArchiveService/ListSegments", None, None)(iter(()))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
    assert reason_of(refused.value) == "PROTOCOL_VIOLATION"
    assert archive.asked == 0


@pytest.mark.parametrize("method", ["/icm.v1.ArchiveService/ListSegments", "/grpc.health.v1.Health/Check"])
async def test_every_call_of_a_server_is_bounded(method: str) -> None:
    async with served() as (archive, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sent(channel, method, b"\x7a\x00" * MANY)
        assert reason_of(refused.value) == "PROTOCOL_VIOLATION"
        answer = await sent(channel, "/grpc.health.v1.Health/Check", b"")
        status = health_pb2.HealthCheckResponse.FromString(answer).status
    assert (archive.asked, status) == (0, health_pb2.HealthCheckResponse.SERVING)


async def test_many_large_messages_at_once_are_not_all_taken() -> None:
    large = archive_pb2.ListSegmentsRequest(camera="x" * ((1 << 20) - 100))
    async with served() as (archive, channel):
        stub = archive_pb2_grpc.ArchiveServiceStub(channel)
        waiting = {asyncio.ensure_future(stub.ListSegments(large)) for _ in range(20)}
        refused: list[Any] = []
        while len(refused) < 16:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused += [call.exception() for call in done]
        assert {reason_of(error) for error in refused} == {"BUSY"}
        assert all(retry_seconds_of(error) > 0 for error in refused)
        archive.may.set()
        await asyncio.gather(*waiting)
        assert archive.asked == 4
        await stub.ListSegments(large)


async def test_an_error_that_quotes_what_came_stays_short_enough_to_arrive() -> None:
    class Quoting(CallGuard):
        @asynccontextmanager
        async def watch(self, context: Any) -> AsyncIterator[CallWatch]:
            raise PermissionDeniedError("ü" * 100_000)
            yield

    async with served(Quoting()) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sent(channel, "/icm.v1.ArchiveService/ListSegments", b"")
    assert reason_of(refused.value) == "PERMISSION_DENIED"
    assert (refused.value.details() or "").startswith("üüü")


class Failing(ingest_pb2_grpc.IngestServiceServicer):
    """Reads one message of a stream in a task of its own, and ends the stream by an error that its reader keeps."""

    async def StreamRecords(  # type: ignore[override]
        self, request_iterator: AsyncIterator[ingest_pb2.StreamRecordsRequest], context: Any
    ) -> AsyncIterator[ingest_pb2.StreamRecordsResponse]:
        errors: list[Exception] = []

        async def read() -> None:
            try:
                async for _ in request_iterator:
                    raise BusyError("the service fails", 0.0)
            except BusyError as error:
                errors.append(error)

        await asyncio.create_task(read())
        raise errors[0]
        yield


async def test_a_stream_that_ends_by_an_error_gives_its_room_back_at_once() -> None:
    message = ingest_pb2.StreamRecordsRequest(batch=ingest_pb2.RecordBatch(records=[bytes(1 << 20)]))
    gc.disable()  # what only it finds is not given back at once
    try:
        server = Server("127.0.0.1:0", False, message_bytes=2 << 20)
        ingest_pb2_grpc.add_IngestServiceServicer_to_server(Failing(), server.grpc)
        await server.start()
        async with open_channel(f"127.0.0.1:{server.port}", False) as channel:
            for _ in range(12):
                call = ingest_pb2_grpc.IngestServiceStub(channel).StreamRecords(iter([message]))
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await call.read()
                assert error.value.details() == "the service fails"
        await server.stop(0)
    finally:
        gc.enable()
