"""A secure channel whose later calls use a renewed certificate, while calls under way keep the connection they have.

gRPC's own channel keeps the credentials that it was made with, so this one is a row of them: one at a time takes new
calls, and each closes once it is superseded and its last call is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import grpc

from icm.config.watched_files import WatchedFiles


class ReloadingChannel(grpc.aio.Channel):
    """As ``grpc.aio.secure_channel``. Use it within one event loop."""

    def __init__(
        self,
        address: str,
        credentials: WatchedFiles[grpc.ChannelCredentials],
        options: Sequence[tuple[str, Any]],
    ) -> None:
        self._address, self._credentials, self._options = address, credentials, options
        self._newest = self._open(credentials.current())
        self._superseded: set[_Generation] = set()

    async def __aenter__(self) -> ReloadingChannel:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Ends all calls, after the grace period in seconds."""
        for generation in (self._newest, *self._superseded):
            await generation.channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._newest.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._newest.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._newest.channel.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._callable(lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._callable(lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._callable(lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._callable(lambda channel: channel.stream_stream(*args, **kwargs))

    def _callable(self, method: Callable[[grpc.aio.Channel], Any]) -> Callable[..., Any]:
        """What a stub calls: makes the method's call on the channel of the moment."""

        def begin(*args: Any, **kwargs: Any) -> Any:
            generation = self._current()
            call = method(generation.channel)(*args, **kwargs)
            generation.calls += 1
            call.add_done_callback(lambda _: self._ended(generation))
            return call

        return begin

    def _current(self) -> _Generation:
        credentials = self._credentials.current()
        if credentials is not self._newest.credentials:
            older, self._newest = self._newest, self._open(credentials)
            self._superseded.add(older)
            self._close_if_unused(older)
        return self._newest

    def _open(self, credentials: grpc.ChannelCredentials) -> _Generation:
        return _Generation(credentials, grpc.aio.secure_channel(self._address, credentials, options=self._options))

    def _ended(self, generation: _Generation) -> None:
        generation.calls -= 1
        self._close_if_unused(generation)

    def _close_if_unused(self, generation: _Generation) -> None:
        if generation in self._superseded and not generation.calls:
            generation.closing = asyncio.get_running_loop().create_task(self._close(generation))

    async def _close(self, generation: _Generation) -> None:
        await generation.channel.close()
        self._superseded.discard(generation)


class _Generation:
    """A channel, and what hangs on it."""

    def __init__(self, credentials: grpc.ChannelCredentials, channel: grpc.aio.Channel) -> None:
        self.credentials, self.channel = credentials, channel
        self.calls = 0
        self.closing: asyncio.Task[None] | None = None
