"""What one client may ask of a server, so that it cannot crowd out the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from icm.errors import BusyError
from icm.rpc.call_guard import CallGuard
from icm.service.clock import Clock

log = logging.getLogger(__name__)
REFUSALS = 16
"""Calls beyond its limit that a client may have open while it is told so; a server takes no more of a connection."""
_MANY_CLIENTS = 1024
"""From here on clients that have been idle are forgotten."""


class ClientLimits(CallGuard):
    """Refuses calls beyond a number at once, and reads no faster than a rate.

    Nothing is refused for its rate: what comes too fast waits with its sender, by gRPC's flow control.
    """

    def __init__(self, streams: int, bytes_per_second: int, clock: Clock) -> None:
        """Creates the limits, with no calls running.

        Args:
            streams: calls of one client that may run at once, unary ones too.
            bytes_per_second: of one client's messages, over all its calls.
        """
        self._streams, self._rate, self._clock = streams, bytes_per_second, clock
        self._clients: dict[str, _Client] = {}

    @asynccontextmanager
    async def watch(self, context: Any) -> AsyncIterator[_Client]:
        """See ``CallGuard``.

        Raises:
            BusyError: the client has too many calls running.
        """
        name = client_of(context)
        client = self._client(name)
        if client.calls >= self._streams:
            if not client.refused:
                log.warning("%s has %d calls running, refusing more", name, client.calls)
            client.refused = True
            raise BusyError(
                f"{name} has {client.calls} calls running already: end one before the next, or raise limits.streams"
            )
        client.calls += 1
        try:
            yield client
        finally:
            client.calls -= 1
            client.refused = False

    def _client(self, name: str) -> _Client:
        if len(self._clients) >= _MANY_CLIENTS:
            self._clients = {name: client for name, client in self._clients.items() if not client.idle()}
        return self._clients.setdefault(name, _Client(Allowance(self._rate, self._clock)))


class Allowance:
    """Bytes at a rate; a second's worth may come at once, and what is more is a debt to wait for."""

    def __init__(self, rate: int, clock: Clock) -> None:
        """Creates an allowance of one second's bytes.

        Args:
            rate: in bytes per second.
        """
        self._rate, self._clock = rate, clock
        self._left, self._at = float(rate), clock.monotonic()

    def take(self, size: int) -> float:
        """Takes so many bytes; returns the seconds after which they are paid for."""
        self._refill()
        self._left -= size
        return max(0.0, -self._left / self._rate)

    def full(self) -> bool:
        """Whether nothing was taken for a while."""
        self._refill()
        return self._left >= self._rate

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._left = min(float(self._rate), self._left + (now - self._at) * self._rate)
        self._at = now


class _Client:
    """Watches all calls of one client."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self.calls = 0
        self.refused = False

    def idle(self) -> bool:
        return not self.calls and self._allowance.full()

    async def ready(self) -> None:
        if wait := self._allowance.take(0):
            await asyncio.sleep(wait)

    async def received(self, size: int) -> None:
        self._allowance.take(size)

    async def sending(self) -> None:
        """Answers are not counted: who is owed them asked for them."""


def client_of(context: Any) -> str:
    """Who calls: the name in its certificate, or its address without the port."""
    for name in context.auth_context().get("x509_common_name", ()):
        return bytes(name).decode(errors="replace")
    return unquote(context.peer()).rpartition(":")[0]
