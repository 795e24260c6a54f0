"""gRPC servers: options, health, and the rule about plaintext."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from icm.config.addresses import listening_place, parse_address, why_not_listening
from icm.errors import ConfigError, ListenError
from icm.rpc.call_guard import CallGuard
from icm.rpc.guarded_calls import GuardedCalls
from icm.rpc.message_bounds import MessageRoom
from icm.rpc.tls import TlsSettings, server_credentials

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest message accepted; the largest raw picture has 24 MiB."""
MAX_CALLS = 1024
"""Calls of one connection at once."""
MAX_CONNECTIONS = 512
"""Of all clients together; further ones are closed at once. A connection costs memory before its client is known, and a
process may open 1024 files as a rule."""
MESSAGES_AT_ONCE = 8
"""Of the largest size, that are worked on at once, of all clients together; beyond that they are told to come back."""

# gRPC's probing of the bandwidth costs a ping for nearly every small message. Without it windows do not grow by
# themselves; this one carries 20 Mbit/s a stream over 100 ms.
WINDOW_OPTIONS = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 18)]
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    # Both ends must agree, or the server answers a client's pings with GOAWAY.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    *WINDOW_OPTIONS,
]


class Server:
    """A grpc.aio server with the health service; add servicers to ``grpc``, then ``start``."""

    def __init__(
        self,
        address: str,
        allow_plaintext: bool,
        tls: TlsSettings | None = None,
        guards: Sequence[CallGuard] = (),
        message_bytes: int = MAX_MESSAGE_BYTES,
        calls: int = MAX_CALLS,
        connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Listens at ``host:port``; port 0 picks a free one.

        Args:
            tls: who the server is; None for plaintext.
            guards: what watches its calls, the first one is asked first.
            message_bytes: largest message it accepts.
            calls: of one connection at once; further ones wait unseen, so let guards refuse before that.
            connections: of all clients at once; further ones are closed.

        Raises:
            ConfigError: plaintext away from loopback was not allowed, or the TLS files cannot be used.
            ListenError: the address cannot be listened on.
        """
        if tls is None:
            check_plaintext(address, allow_plaintext)
        credentials = server_credentials(tls) if tls else None
        options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_concurrent_streams", calls),
            ("grpc.max_allowed_incoming_connections", connections),
        ]
        calls_guarded = GuardedCalls(guards, MessageRoom(MESSAGES_AT_ONCE * message_bytes))
        self.grpc = grpc.aio.server(options=options, interceptors=(calls_guarded,))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        try:
            self.port: int = (
                self.grpc.add_secure_port(address, credentials) if credentials else self.grpc.add_insecure_port(address)
            )
        except RuntimeError:
            self.port = 0
        if self.port == 0:
            raise ListenError(f"cannot listen on {address}: {_why_not(address)}")

    async def start(self) -> None:
        await self.grpc.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        """What the health service answers for the server as a whole."""
        kinds = health_pb2.HealthCheckResponse
        await self._health.set("", kinds.SERVING if serving else kinds.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Says NOT_SERVING, lets calls finish for the grace period, then ends them."""
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(grace_seconds)


def check_plaintext(address: str, allowed: bool) -> None:
    """Refuses plaintext anywhere but on loopback unless it was allowed on purpose.

    Raises:
        ConfigError: the address is not loopback and plaintext was not allowed.
    """
    if allowed or is_loopback(address):
        return
    raise ConfigError(
        f"refusing to speak plaintext on {address}: frames would cross the network unprotected;"
        " set tls, use a loopback address, or set allow_plaintext to true on a network you trust"
    )


def is_loopback(address: str) -> bool:
    """Whether ``host:port`` names this machine only."""
    return parse_address(address).is_loopback


def _why_not(address: str) -> str:
    """Why nobody can listen there; gRPC tells that it could not, and not why."""
    try:
        family, place = listening_place(parse_address(address))
        with socket.socket(family) as listener:
            listener.bind(place)
    except OSError as error:
        return why_not_listening(error)
    return "the system does not say why"
