"""One client cannot crowd out the others: calls at once, bytes in a second, the size of a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.rpc.channels import open_channel
from icm.rpc.limits import Allowance, ClientLimits
from icm.rpc.servers import Server
from icm.rpc.status import reason_of
from icm.service.clock import ManualClock, SystemClock
from icm.v1 import archive_pb2, archive_pb2_grpc

Watch = archive_pb2.WatchDetectionsRequest


class Patient(archive_pb2_grpc.ArchiveServiceServicer):
    """Keeps watchers waiting, and counts what reaches it."""

    def __init__(self) -> None:
        self.listed = 0

    async def ListCameras(self, request: Any, context: Any) -> archive_pb2.ListCamerasResponse:
        self.listed += 1
        return archive_pb2.ListCamerasResponse()

    async def ListSegments(self, request: Any, context: Any) -> archive_pb2.ListSegmentsResponse:
        self.listed += 1
        return archive_pb2.ListSegmentsResponse()

    async def WatchDetections(self, request: Any, context: Any) -> AsyncIterator[archive_pb2.WatchDetectionsResponse]:
        yield archive_pb2.WatchDetectionsResponse()
        await asyncio.Event().wait()


class Caller:
    """Of a call, as far as limits look at it."""

    def auth_context(self) -> dict[str, Any]:
        return {}

    def peer(self) -> str:
        return "ipv4:10.0.0.5:4711"


@asynccontextmanager
async def served(
    limits: ClientLimits, **options: Any
) -> AsyncIterator[tuple[Patient, archive_pb2_grpc.ArchiveServiceAsyncStub]]:
    server, patient = Server("127.0.0.1:0", False, guards=(limits,), **options), Patient()
    archive_pb2_grpc.add_ArchiveServiceServicer_to_server(patient, server.grpc)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", False) as channel:
        yield patient, archive_pb2_grpc.ArchiveServiceStub(channel)
    await server.stop(0)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_calls_beyond_the_limit_are_refused_until_one_ends() -> None:
    async with served(ClientLimits(2, 1 << 20, SystemClock())) as (_, stub):
        first, second = stub.WatchDetections(Watch()), stub.WatchDetections(Watch())
        for call in (first, second):
            await call.read()
        for refused in (stub.WatchDetections(Watch()).read(), stub.ListCameras(archive_pb2.ListCamerasRequest())):
            error = await failure(refused)
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
            assert "has 2 calls running already" in (error.details() or "")
        second.cancel()
        # The server hears of the end by itself, soon.
        async with asyncio.timeout(20):
            while True:
                try:
                    await stub.ListCameras(archive_pb2.ListCamerasRequest())
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0)


async def test_what_comes_too_fast_waits_and_is_not_refused() -> None:
    clock = ManualClock()
    async with served(ClientLimits(8, 1000, clock)) as (patient, stub):
        large = archive_pb2.ListSegmentsRequest(camera="x" * 10_000)
        assert (await failure(stub.ListSegments(large, timeout=0.3))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert patient.listed == 0
        # Ten seconds' worth are owed; after them the client is as good as new.
        clock.advance(11)
        await stub.ListSegments(archive_pb2.ListSegmentsRequest(camera="x"))
        assert patient.listed == 1


async def test_a_stream_that_sent_too_much_is_read_on_only_when_that_is_paid_for() -> None:
    clock = ManualClock()
    limits = ClientLimits(8, 1000, clock)
    async with limits.watch(Caller()) as first, limits.watch(Caller()) as second:
        await first.ready()
        await first.received(10_000)
        for watch in (first, second):
            waiting = asyncio.ensure_future(watch.ready())
            done, _ = await asyncio.wait([waiting], timeout=0.01)
            assert not done
            waiting.cancel()
        clock.advance(10)
        await first.ready()
        await second.ready()


async def test_a_message_that_is_too_large_is_refused() -> None:
    async with served(ClientLimits(8, 1 << 30, SystemClock()), message_bytes=1 << 20) as (patient, stub):
        too_large = archive_pb2.ListSegmentsRequest(camera="x" * (1 << 20))
        assert (await failure(stub.ListSegments(too_large))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stub.ListSegments(archive_pb2.ListSegmentsRequest(camera="x" * 1000))
        assert patient.listed == 1


async def test_a_method_that_there_is_not_is_still_unimplemented() -> None:
    async with served(ClientLimits(8, 1 << 20, SystemClock())) as (_, stub):
        frame = archive_pb2.GetFrameRequest()
        assert (await failure(stub.GetFrame(frame))).code() is grpc.StatusCode.UNIMPLEMENTED


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 3)), max_size=50))
def test_a_client_that_waits_as_told_never_gets_more_than_the_rate(steps: list[tuple[int, float]]) -> None:
    clock, rate = ManualClock(), 1000
    allowance, taken = Allowance(rate, clock), 0
    for size, pause in steps:
        clock.advance(allowance.take(size) + pause)
        taken += size
        assert taken <= rate * (clock.monotonic() + 1) + 1
    clock.advance(1.01)
    assert allowance.full()


def test_a_seconds_worth_may_come_at_once() -> None:
    allowance = Allowance(1000, ManualClock())
    assert allowance.take(1000) == 0
    assert allowance.take(500) == 0.5
    assert allowance.take(500) == 1.0
