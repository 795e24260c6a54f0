"""How clients reach a service: address, TLS, token, and how long they try."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from icm.errors import BusyError, ConfigError
from icm.rpc.channels import OPTIONS
from icm.rpc.proxies import proxy_of
from icm.rpc.servers import check_plaintext
from icm.rpc.status import error_of
from icm.rpc.tls import client_credentials
from icm.service.backoff import Backoff

FIRST_RETRY_SECONDS = 0.25
MOST_RETRY_SECONDS = 5.0
LONGEST_TIMEOUT_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Tls:
    """Whom a client believes, and who it is. The files are read when the client is made.

    Attributes:
        authority: PEM file of the authority that the service's certificate must come from.
        certificate: PEM file of the client's own certificate, where the service asks for one, as a cloud does.
        key: PEM file of that certificate's private key.
    """

    authority: Path | str
    certificate: Path | str | None = None
    key: Path | str | None = None


class Connection:
    """What both kinds of clients of a service have in common.

    Attributes:
        address: ``host:port``.
        options: of gRPC's channel.
        credentials: of gRPC's channel; None for plaintext.
        metadata: what each call carries.
    """

    def __init__(
        self, address: str, *, tls: Tls | None, token: str | None, timeout: float, allow_plaintext: bool
    ) -> None:
        """Checks everything that can be checked without the service.

        Args:
            address: ``host:port``.
            tls: None to speak plaintext.
            token: what the service knows the client by; None if it asks for none.
            timeout: seconds that a call may take, attempts after a broken connection included.
            allow_plaintext: whether plaintext may leave this machine.

        Raises:
            ConfigError: one of them cannot be.
        """
        self.credentials: grpc.ChannelCredentials | None = None
        if tls is None:
            check_plaintext(address, allow_plaintext)
        else:
            certificate = None if tls.certificate is None else Path(tls.certificate)
            key = None if tls.key is None else Path(tls.key)
            self.credentials = client_credentials(Path(tls.authority), certificate, key)
        if not 0 < timeout <= LONGEST_TIMEOUT_SECONDS:
            raise ConfigError(f"timeout is {timeout}: give seconds, more than 0 and up to {LONGEST_TIMEOUT_SECONDS:g}")
        self.options = OPTIONS if proxy_of(address) else [*OPTIONS, ("grpc.enable_http_proxy", 0)]
        self.address = address
        self.metadata = () if token is None else (("authorization", f"Bearer {_printable(token)}"),)
        self._timeout = timeout

    def channel(self) -> grpc.Channel:
        """A channel for programs without an event loop; it connects with the first call."""
        if self.credentials is None:
            return grpc.insecure_channel(self.address, self.options)
        return grpc.secure_channel(self.address, self.credentials, self.options)

    def aio_channel(self) -> grpc.aio.Channel:
        """A channel for programs of asyncio; it connects with the first call."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, self.options)
        return grpc.aio.secure_channel(self.address, self.credentials, self.options)

    def attempts(self, *, sent_twice: bool) -> Attempts:
        """The attempts of one call.

        Args:
            sent_twice: whether the call may reach the service more than once, as one that only reads may.
        """
        return Attempts(self.address, self._timeout, sent_twice)


class Closing:
    """A client without an event loop, which closes its channel at the end of a ``with`` block."""

    _channel: grpc.Channel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and all calls."""
        self._channel.close()


class AsyncClosing:
    """As ``Closing``, for asyncio."""

    _channel: grpc.aio.Channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and all calls."""
        await self._channel.close()


class Attempts:
    """One call's attempts, until its time is over."""

    def __init__(self, address: str, timeout: float, sent_twice: bool) -> None:
        self._address, self._timeout, self._sent_twice = address, timeout, sent_twice
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MOST_RETRY_SECONDS)
        self.renew()

    def renew(self) -> None:
        """The service answered: from now on there is the whole time again."""
        self._end = time.monotonic() + self._timeout
        self._backoff.reset()

    @property
    def remaining(self) -> float:
        """Seconds that the call still has."""
        return max(self._end - time.monotonic(), 0.0)

    def wait_after(self, error: grpc.RpcError) -> float:
        """How many seconds to wait before the next attempt.

        Raises:
            IcmError: there is none: the error as one of ``icm.errors``.
        """
        found = error_of(error, self._address)
        if isinstance(found, BusyError):
            # Nothing was done; whoever was turned away at once shall not come back all at once.
            wait = found.retry_seconds * random.uniform(1.0, 1.5)
        elif self._sent_twice and error.code() is grpc.StatusCode.UNAVAILABLE:
            wait = self._backoff.next()
        else:
            raise found from None
        if wait >= self.remaining:
            raise found from None
        return wait


def _printable(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token is none: give the line that `icm-edge token` printed, without spaces around it")
    return token
