"""The guard of a frame API that asks for tokens: who shows none that is known is refused before anything is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edge_service.frame_api.tokens import Metadata, Tokens
from icm.rpc.call_guard import CallGuard
from icm.rpc.open_calls import OpenCalls
from icm.service.clock import Clock


class TokenAccess(CallGuard):
    """Callers by their tokens. A call whose token was taken out of the file ends: at its next message, and one over
    which nothing is said within seconds.
    """

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens, self._open = tokens, OpenCalls(clock)

    @asynccontextmanager
    async def watch(self, context: Any) -> AsyncIterator[_Watch]:
        """See ``CallGuard``.

        Raises:
            UnauthenticatedError: the call shows no token that is known.
        """
        watch = _Watch(self._tokens, context.invocation_metadata() or ())
        async with self._open.kept(watch.check):
            yield watch


class _Watch:
    """Of one call."""

    def __init__(self, tokens: Tokens, metadata: Metadata) -> None:
        self._tokens, self._metadata = tokens, metadata

    def check(self) -> None:
        self._tokens.check_known(self._metadata)

    async def ready(self) -> None:
        """A token makes nobody wait."""

    async def received(self, size: int) -> None:
        self.check()

    async def sending(self) -> None:
        """What is sent answers messages, and each of those was looked at."""
