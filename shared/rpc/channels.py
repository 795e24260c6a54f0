"""gRPC channels to another service."""

from __future__ import annotations

import grpc

from shared.rpc.servers import MAX_MESSAGE_BYTES, check_plaintext

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def open_channel(address: str, allow_plaintext: bool) -> grpc.aio.Channel:
    """A channel to ``host:port``; it connects by itself, again and again.

    Raises:
        ConfigError: the address is not loopback and plaintext was not allowed.
    """
    check_plaintext(address, allow_plaintext)
    return grpc.aio.insecure_channel(address, options=_OPTIONS)
