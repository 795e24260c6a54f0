"""Mutual TLS between real servers and channels: who gets in, and that certificates are renewed without a restart."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from icm.errors import ConfigError
from icm.rpc.channels import open_channel
from icm.rpc.servers import Server
from icm.rpc.tls import MutualTlsSettings, TlsSettings, check_tls
from icm.v1 import archive_pb2, archive_pb2_grpc
from tests.certificates import Certificates, copied, files_in


class Mirror(archive_pb2_grpc.ArchiveServiceServicer):
    """Tells callers which certificate they showed: its serial number, as a camera's count of records."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def ListCameras(self, request: Any, context: Any) -> archive_pb2.ListCamerasResponse:
        (pem,) = context.auth_context()["x509_pem_cert"]
        shown = x509.load_pem_x509_certificate(pem)
        return archive_pb2.ListCamerasResponse(cameras=[archive_pb2.Camera(name=f"{shown.serial_number:x}")])

    async def WatchDetections(self, request: Any, context: Any) -> AsyncIterator[archive_pb2.WatchDetectionsResponse]:
        yield archive_pb2.WatchDetectionsResponse()
        await self.go_on.wait()
        yield archive_pb2.WatchDetectionsResponse()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "authority")


@pytest.fixture
def strangers(tmp_path: Path) -> Certificates:
    """Another authority of the same name."""
    return Certificates(tmp_path / "strangers")


@asynccontextmanager
async def serving(tls: TlsSettings, mirror: Mirror | None = None, address: str = "127.0.0.1:0") -> AsyncIterator[int]:
    server = Server(address, allow_plaintext=False, tls=tls)
    archive_pb2_grpc.add_ArchiveServiceServicer_to_server(mirror or Mirror(), server.grpc)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(0)


async def shown_by(channel: grpc.aio.Channel) -> str:
    """The serial number of the certificate that a call over this channel shows."""
    stub = archive_pb2_grpc.ArchiveServiceStub(channel)
    return (await stub.ListCameras(archive_pb2.ListCamerasRequest(), timeout=20)).cameras[0].name


async def refusal(channel: grpc.aio.Channel) -> grpc.StatusCode:
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shown_by(channel)
    return caught.value.code()


def serial(settings: TlsSettings) -> str:
    return f"{x509.load_pem_x509_certificate(settings.certificate.read_bytes()).serial_number:x}"


def served_serial(port: int, client: MutualTlsSettings) -> str:
    """The serial number of what the server shows in a new connection."""
    context = ssl.create_default_context(cafile=str(client.authority))
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    assert der
    return f"{x509.load_der_x509_certificate(der).serial_number:x}"


async def test_both_sides_show_who_they_are(certificates: Certificates) -> None:
    edge = certificates.edge("north", "gate")
    async with (
        serving(certificates.server()) as port,
        open_channel(f"127.0.0.1:{port}", allow_plaintext=False, tls=edge) as channel,
    ):
        assert await shown_by(channel) == serial(edge)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_a_certificate_for_an_ipv6_address_holds_there(certificates: Certificates, host: str) -> None:
    edge = certificates.edge("north", "gate")
    async with (
        serving(certificates.server(hosts=[host]), address="[::1]:0") as port,
        open_channel(f"[::1]:{port}", allow_plaintext=False, tls=edge) as channel,
    ):
        assert await shown_by(channel) == serial(edge)


async def test_a_client_without_a_certificate_or_with_a_strangers_does_not_get_in(
    certificates: Certificates, strangers: Certificates
) -> None:
    ours = certificates.edge("north", "gate")
    async with serving(certificates.server()) as port:
        address = f"127.0.0.1:{port}"
        nameless = grpc.ssl_channel_credentials(ours.authority.read_bytes())
        assert await refusal(grpc.aio.secure_channel(address, nameless)) is grpc.StatusCode.UNAVAILABLE
        theirs = strangers.edge("north", "gate").model_copy(update={"authority": ours.authority})
        assert await refusal(open_channel(address, False, theirs)) is grpc.StatusCode.UNAVAILABLE
        assert await refusal(open_channel(address, False)) is grpc.StatusCode.UNAVAILABLE


async def test_a_client_believes_no_strangers_server_and_none_of_another_name(
    certificates: Certificates, strangers: Certificates
) -> None:
    edge = certificates.edge("north", "gate")
    for server in (strangers.server(), certificates.server(hosts=["cloud.example"])):
        async with serving(server.model_copy(update={"authority": edge.authority})) as port:
            assert await refusal(open_channel(f"127.0.0.1:{port}", False, edge)) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_takes_up_a_renewed_certificate_without_a_restart(certificates: Certificates) -> None:
    edge, server = certificates.edge("north", "gate"), certificates.server()
    first = serial(server)
    async with serving(server) as port:
        assert await asyncio.to_thread(served_serial, port, edge) == first
        certificates.server()
        assert serial(server) != first
        assert await asyncio.to_thread(served_serial, port, edge) == serial(server)


async def test_a_server_goes_on_with_what_it_had_while_its_files_do_not_fit(certificates: Certificates) -> None:
    edge, server = certificates.edge("north", "gate"), certificates.server()
    first = serial(server)
    async with serving(server) as port:
        server.key.write_bytes(edge.key.read_bytes())
        assert await asyncio.to_thread(served_serial, port, edge) == first
        server.certificate.unlink()
        assert await asyncio.to_thread(served_serial, port, edge) == first


async def test_a_server_can_be_told_of_a_second_authority_while_it_runs(
    certificates: Certificates, strangers: Certificates
) -> None:
    server = certificates.server()
    newcomer = strangers.edge("north", "gate")
    both = server.authority.read_bytes() + newcomer.authority.read_bytes()
    newcomer = newcomer.model_copy(update={"authority": server.authority})
    async with serving(server) as port:
        address = f"127.0.0.1:{port}"
        assert await refusal(open_channel(address, False, newcomer)) is grpc.StatusCode.UNAVAILABLE
        server.authority.write_bytes(both)
        async with open_channel(address, False, newcomer) as channel:
            assert await shown_by(channel) == serial(newcomer)


async def test_a_channels_later_calls_show_a_renewed_certificate_and_those_under_way_go_on(
    certificates: Certificates,
) -> None:
    edge, mirror = certificates.edge("north", "gate"), Mirror()
    first = serial(edge)
    async with (
        serving(certificates.server(), mirror) as port,
        open_channel(f"127.0.0.1:{port}", False, edge) as channel,
    ):
        stub = archive_pb2_grpc.ArchiveServiceStub(channel)
        watching = aiter(stub.WatchDetections(archive_pb2.WatchDetectionsRequest()))
        await anext(watching)
        assert await shown_by(channel) == first
        certificates.edge("north", "gate")
        assert await shown_by(channel) == serial(edge) != first
        mirror.go_on.set()
        assert len([answer async for answer in watching]) == 1
        assert await shown_by(channel) == serial(edge)


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "ca.crt"])
def test_a_missing_file_is_named(certificates: Certificates, missing: str) -> None:
    settings = certificates.server()
    path = settings.certificate.parent / missing
    path.unlink()
    with pytest.raises(ConfigError, match=f"cannot read {path}"):
        check_tls(settings)


def test_files_that_do_not_belong_together_are_named(certificates: Certificates, tmp_path: Path) -> None:
    settings = copied(certificates.server(), tmp_path / "copy")
    settings.key.write_bytes(certificates.edge("north", "gate").key.read_bytes())
    with pytest.raises(ConfigError, match="not a PEM certificate and its private key") as caught:
        check_tls(settings)
    assert str(settings.certificate) in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(certificates: Certificates) -> None:
    settings = certificates.server()
    key = serialization.load_pem_private_key(settings.key.read_bytes(), None)
    settings.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    with pytest.raises(ConfigError, match="unencrypted"):
        check_tls(settings)


def test_an_authority_that_is_none_is_named(certificates: Certificates) -> None:
    settings = files_in(certificates.server().certificate.parent)
    settings.authority.write_text("no certificate")
    with pytest.raises(ConfigError, match=f"{settings.authority} holds no PEM certificate"):
        check_tls(settings)


def spoken(port: int, client: MutualTlsSettings, newest: ssl.TLSVersion) -> str | None:
    """The version of TLS that a client of this age and the server agree on."""
    context = ssl.create_default_context(cafile=str(client.authority))
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # else the client itself would speak nothing old
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_a_server_speaks_tls_1_2_and_nothing_older(certificates: Certificates) -> None:
    edge = certificates.edge("north", "gate")
    async with serving(certificates.server()) as port:
        assert await asyncio.to_thread(spoken, port, edge, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        with pytest.raises(ssl.SSLError, match=r"EOF|PROTOCOL_VERSION"):  # as the server ends it, not the client
            await asyncio.to_thread(spoken, port, edge, ssl.TLSVersion.TLSv1_1)
