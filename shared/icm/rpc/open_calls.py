"""Ends calls that may go on no longer, those included over which nothing is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from icm.errors import IcmError
from icm.service.clock import Clock

LOOK_SECONDS = 2.0
"""How often every open call is looked at."""


class OpenCalls:
    """Calls under way, and what each must still pass. Use it within one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: set[_Call] = set()
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def kept(self, check: Callable[[], None]) -> AsyncIterator[None]:
        """The block is a call.

        Args:
            check: raises an IcmError once the call may go on no longer; the block is then cancelled.

        Raises:
            IcmError: from ``check``, at once or some time later.
        """
        check()
        call = _Call(check)
        try:
            async with call.patience:
                self._calls.add(call)
                if self._looking is None:
                    self._looking = asyncio.create_task(self._look())
                try:
                    yield
                finally:
                    self._calls.discard(call)
        except TimeoutError:
            if call.error is None:
                raise
            raise call.error from None

    async def _look(self) -> None:
        try:
            while self._calls:
                await self._clock.sleep(LOOK_SECONDS)
                for call in list(self._calls):
                    call.look()
        finally:
            self._looking = None


class _Call:
    """One of them."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        # Without end until it is told that it is over: then it cancels what it is around.
        self.patience = asyncio.timeout(None)
        self.error: IcmError | None = None

    def look(self) -> None:
        if self.error is not None:
            return  # it is ending
        try:
            self._check()
        except IcmError as error:
            self.error = error
            self.patience.reschedule(asyncio.get_running_loop().time())
