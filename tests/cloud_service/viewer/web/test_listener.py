"""The HTTP server on a real socket: hostile clients, certificates that change, and a clean end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cloud_service.viewer.web import listener as module
from cloud_service.viewer.web.listener import Listener
from icm.errors import ConfigError, ListenError
from tests.certificates import Certificates


async def answer(_request: Request) -> Response:
    return PlainTextResponse("here")


@contextmanager
def listening(**changes: Any) -> Iterator[Listener]:
    """A listener on a thread with an event loop of its own."""
    settings = {"address": "127.0.0.1:0", "allow_plaintext": False, "tls": None, "connections": 100}
    settings = {**settings, "client_of": lambda address: address, **changes}
    listener = Listener(Starlette(routes=[Route("/", answer)]), **settings)
    thread = threading.Thread(target=lambda: asyncio.run(listener.serve()))
    thread.start()
    try:
        yield listener
    finally:
        listener.stop()
        thread.join(20)
        assert not thread.is_alive()


def connected(listener: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port), timeout=20)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n", b"GET /"], ids=["nothing", "half", "a word"])
def test_who_does_not_send_a_whole_head_is_cut_off(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(module, "_HEADER_SECONDS", 0.3)
    with listening() as listener, connected(listener) as client:
        client.sendall(sent)
        assert client.recv(100) == b""


def test_who_sends_a_head_in_time_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEADER_SECONDS", 0.5)
    with listening() as listener, httpx.Client(base_url=f"http://127.0.0.1:{listener.port}") as client:
        streams = set()
        for _ in range(3):
            found = client.get("/")
            assert found.text == "here"
            streams.add(found.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.3)
        assert len(streams) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"\r\n" * 100 + b"nonsense\r\n\r\n",
    ],
    ids=["TLS", "too long", "no host", "two hosts", "negative length", "nonsense"],
)
def test_what_is_no_request_gets_400_and_costs_nobody_else(sent: bytes) -> None:
    with listening() as listener:
        with connected(listener) as client:
            client.sendall(sent)
            assert client.recv(100).startswith(b"HTTP/1.1 400")
        assert httpx.get(f"http://127.0.0.1:{listener.port}/").text == "here"


def test_beyond_its_connections_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(connections=3) as listener:
        clients = [connected(listener) for _ in range(3)]
        assert httpx.get(f"http://127.0.0.1:{listener.port}/").status_code == 503
        for client in clients:
            client.close()
        for _ in range(100):
            if httpx.get(f"http://127.0.0.1:{listener.port}/").status_code == 200:
                break
        else:
            pytest.fail("the connections that ended still count")


def test_one_client_has_a_part_of_the_connections_and_others_go_on() -> None:
    with listening(connections=100) as listener:
        half = [connected(listener) for _ in range(40)]
        for client in half[:25]:
            client.sendall(b"GET / HTTP/1.1\r\n")
        # What the system accepted is refused in order: behind the 25 that one address may have.
        refused = [client.recv(300) for client in half[25:]]
        assert all(answer.startswith(b"HTTP/1.1 503") for answer in refused)
        assert b"too many connections from here" in refused[0]
        with socket.create_connection(("127.0.0.1", listener.port), 20, ("127.0.0.2", 0)) as other:
            other.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert other.recv(300).startswith(b"HTTP/1.1 200")
        for client in half:
            client.close()
        for _ in range(100):
            with connected(listener) as again:
                again.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                if again.recv(300).startswith(b"HTTP/1.1 200"):
                    break
        else:
            pytest.fail("the connections that ended still count")


def test_behind_a_proxy_that_is_trusted_clients_are_not_one() -> None:
    with listening(connections=100, client_of=lambda _address: None) as listener:
        clients = [connected(listener) for _ in range(60)]
        clients[-1].sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert clients[-1].recv(300).startswith(b"HTTP/1.1 200")
        for client in clients:
            client.close()


def test_no_answer_waits_for_the_acknowledgement_of_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = []

    class Noted(module._Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            at_once.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(module, "_Protocol", Noted)
    with listening() as listener:
        assert httpx.get(f"http://127.0.0.1:{listener.port}/").text == "here"
    assert at_once == [1]


def shown(listener: Listener) -> int:
    """Serial number of the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connected(listener) as plain, context.wrap_socket(plain) as client:
        certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def test_a_certificate_that_was_renewed_is_shown_to_whoever_comes_next(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    first, second = certificates.server("one"), certificates.server("two")
    with listening(tls=first) as listener:
        before = shown(listener)
        for name in ("key", "certificate"):
            getattr(first, name).write_bytes(getattr(second, name).read_bytes())
        assert shown(listener) != before
        first.certificate.write_text("nonsense")
        assert shown(listener) != before


def test_what_cannot_be_listened_with_is_refused(tmp_path: Path) -> None:
    for changes, error in (
        ({"address": "0.0.0.0:0"}, ConfigError),
        ({"address": "192.0.2.1:0", "allow_plaintext": True}, ListenError),
    ):
        with pytest.raises(error):
            Listener(
                Starlette(),
                **{"address": "", "allow_plaintext": False, "tls": None, "connections": 1, "client_of": str, **changes},
            )  # type: ignore[arg-type]
