"""gRPC channels to another service."""

from __future__ import annotations

import grpc

from icm.rpc.proxies import proxy_of
from icm.rpc.reloading_channel import ReloadingChannel
from icm.rpc.servers import MAX_MESSAGE_BYTES, WINDOW_OPTIONS, check_plaintext
from icm.rpc.tls import MutualTlsSettings, watched_channel_credentials

OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    *WINDOW_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
"""Of every channel to one of our services."""


def open_channel(address: str, allow_plaintext: bool, tls: MutualTlsSettings | None = None) -> grpc.aio.Channel:
    """A channel to ``host:port``; it connects by itself, again and again. Without ``tls`` it speaks plaintext.

    A proxy of the environment is used as gRPC does, but never for this machine.

    Raises:
        ConfigError: the address is not loopback and plaintext was not allowed, the TLS files cannot be used, or the
            environment names a proxy that cannot be.
    """
    options = OPTIONS if proxy_of(address) else [*OPTIONS, ("grpc.enable_http_proxy", 0)]
    if tls is not None:
        return ReloadingChannel(address, watched_channel_credentials(tls), options)
    check_plaintext(address, allow_plaintext)
    return grpc.aio.insecure_channel(address, options=options)
