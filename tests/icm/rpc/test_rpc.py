"""Errors as gRPC statuses, and the rule about plaintext, on a real server."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from icm import errors
from icm.rpc import status
from icm.rpc.channels import open_channel
from icm.rpc.servers import Server, check_plaintext
from icm.v1 import archive_pb2, archive_pb2_grpc


class RefusingArchive(archive_pb2_grpc.ArchiveServiceServicer):
    async def ListCameras(
        self, request: archive_pb2.ListCamerasRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> archive_pb2.ListCamerasResponse:
        await status.abort(context, errors.StorageFullError("the disk /data is full: free some space"))


async def test_an_error_arrives_with_code_text_and_reason() -> None:
    server = Server("127.0.0.1:0", allow_plaintext=False)
    archive_pb2_grpc.add_ArchiveServiceServicer_to_server(RefusingArchive(), server.grpc)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", allow_plaintext=False) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await archive_pb2_grpc.ArchiveServiceStub(channel).ListCameras(archive_pb2.ListCamerasRequest())
    await server.stop(0)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "the disk /data is full: free some space"
    assert status.reason_of(caught.value) == "STORAGE_FULL"


async def test_health_follows_the_server() -> None:
    server = Server("127.0.0.1:0", allow_plaintext=False)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", allow_plaintext=False) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answers = [(await stub.Check(health_pb2.HealthCheckRequest())).status]
        await server.set_serving(False)
        answers.append((await stub.Check(health_pb2.HealthCheckRequest())).status)
    await server.stop(0)
    assert answers == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


async def test_a_port_in_use_is_named() -> None:
    server = Server("127.0.0.1:0", allow_plaintext=False)
    await server.start()
    with pytest.raises(errors.ListenError, match=f"127.0.0.1:{server.port}"):
        Server(f"127.0.0.1:{server.port}", allow_plaintext=False)
    await server.stop(0)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_plaintext_is_fine_on_loopback(address: str) -> None:
    check_plaintext(address, allowed=False)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "10.0.0.1:1", "cloud:1", "[::]:1", "127.0.0.1.example.org:1"])
def test_plaintext_elsewhere_needs_to_be_allowed(address: str) -> None:
    with pytest.raises(errors.ConfigError, match="allow_plaintext"):
        check_plaintext(address, allowed=False)
    check_plaintext(address, allowed=True)


def test_a_status_carries_the_reason_for_machines() -> None:
    packed = status.status_of(errors.ImageError("no picture"))
    info = error_details_pb2.ErrorInfo()
    assert packed.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("IMAGE_INVALID", "icm-bridge")


async def test_connections_beyond_the_bound_are_closed_at_once_and_one_that_ends_makes_room() -> None:
    server = Server("127.0.0.1:0", allow_plaintext=False, connections=2)
    await server.start()

    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", server.port), timeout=20)

    def greeted(connection: socket.socket) -> bool:
        """A server of HTTP/2 speaks first."""
        try:
            return connection.recv(1) != b""
        except ConnectionResetError:
            return False

    def knock() -> list[bool]:
        with connect() as first, connect() as second, connect() as third:
            answers = [greeted(connection) for connection in (first, second, third)]
            first.close()
            # The server takes a moment to see that it is gone.
            again = False
            while not again:
                with connect() as fourth:
                    again = greeted(fourth)
            return answers

    async with asyncio.timeout(60):
        assert await asyncio.to_thread(knock) == [True, True, False]
    await server.stop(0)
