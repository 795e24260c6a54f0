"""The HTTP server: where it listens, its certificate, and what a client may not keep it waiting with."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from icm.config.addresses import listening_place, parse_address, why_not_listening
from icm.config.watched_files import WatchedFiles
from icm.errors import ListenError
from icm.rpc.servers import check_plaintext
from icm.rpc.tls import TlsSettings, check_tls

_BACKLOG = 512
_HEADER_SECONDS = 10.0
"""For a client to send the head of a request, from its first byte or its connection on."""
_HEADER_BYTES = 32 << 10
_SHARE = 4
"""One client has a quarter of all connections at most."""
_LEAST_OF_A_CLIENT = 16
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 10\r\ncontent-type: text/plain\r\n"
    b"content-length: 43\r\n\r\ntoo many connections from here: close some\n"
)
_IDLE_SECONDS = 30
_MESSAGE_BYTES = 32 << 10
"""Of a message that comes over a WebSocket."""
_GRACE_SECONDS = 3
"""For answers under way when the listener stops."""


class Listener:
    """Serves an application at an address; ``serve`` inside a running event loop."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        address: str,
        allow_plaintext: bool,
        tls: TlsSettings | None,
        connections: int,
        client_of: Callable[[str], str | None],
    ) -> None:
        """Listens, and answers nobody yet.

        Args:
            app: what answers.
            address: ``host:port``; port 0 picks a free one.
            allow_plaintext: whether plaintext may leave this machine.
            tls: the certificate; None for plaintext.
            connections: at once; further ones get 503, and so do those of one client beyond a quarter of them.
            client_of: whom the address of a peer stands for; None for any number of clients, as a proxy's does.

        Raises:
            ConfigError: plaintext away from loopback was not allowed, or the TLS files cannot be used.
            ListenError: the address cannot be listened on.
        """
        if tls is None:
            check_plaintext(address, allow_plaintext)
        else:
            check_tls(tls)
        bound = _ClientBound(max(connections // _SHARE, _LEAST_OF_A_CLIENT), client_of)
        self._socket = _bound(address)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                http=type(_Protocol.__name__, (_Protocol,), {"bound": bound}),
                ws="websockets-sansio",
                ws_max_size=_MESSAGE_BYTES,
                # What is sent are JPEG files, and small compressed messages could unpack to huge ones.
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                # Else there is a line for each WebSocket, one that is refused included.
                log_level="warning",
                access_log=False,
                # What a proxy says is believed by the settings' rules; see accounts.proxy.
                proxy_headers=False,
                server_header=False,
                limit_concurrency=connections,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                ssl_context_factory=None if tls is None else lambda _config, _default: _context(tls),
            )
        )

    async def serve(self) -> None:
        """Answers until ``stop``, and then what is under way, for a few seconds at most."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Makes ``serve`` end."""
        self._server.should_exit = True

    def close(self) -> None:
        """Gives the address back where ``serve`` never ran."""
        self._socket.close()


class _Server(uvicorn.Server):
    """One that leaves the process's signals to the process."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _ClientBound:
    """Counts the connections of each client, so that none keeps others out."""

    def __init__(self, most: int, client_of: Callable[[str], str | None]) -> None:
        self._most, self._client_of = most, client_of
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """One more of a client; returns whose it is, for ``leave``, empty where nobody counts; None if too many."""
        client = self._client_of(address)
        if client is None:
            return ""
        if self._open[client] >= self._most:
            return None
        self._open[client] += 1
        return client

    def leave(self, client: str) -> None:
        """One less."""
        self._open[client] -= 1
        if self._open[client] <= 0:
            del self._open[client]


class _Protocol(H11Protocol):
    """One that does not wait for ever for the head of a request, and lets a client have a part of all connections."""

    bound: _ClientBound
    _timer: asyncio.TimerHandle | None = None
    _client: str = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        client = self.bound.enter(peer[0] if peer else "")
        if client is None:
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._client = client
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._forget()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        # Another protocol has the connection from here on, and WebSockets are bounded where they are let in.
        self._leave()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        if self._client:
            self.bound.leave(self._client)
            self._client = ""

    def _await_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bound(address: str) -> socket.socket:
    try:
        family, place = listening_place(parse_address(address))
        # Named as TCP, since asyncio lets small packets go out at once for no other: a page's head and body are two,
        # and the second would wait for the first one's acknowledgement, 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {why_not_listening(error)}") from None
    return listener


def _context(tls: TlsSettings) -> ssl.SSLContext:
    """Of a server whose files are read again when they change: each handshake uses what they hold then."""

    def read() -> ssl.SSLContext:
        check_tls(tls)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls.certificate, tls.key)
        return context

    files = WatchedFiles([tls.certificate, tls.key], read)

    def at_handshake(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = files.current()

    first = read()
    first.sni_callback = at_handshake
    return first
