"""What watches every call of a server, whichever service it belongs to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class CallWatch(Protocol):
    """Watches one call. What it raises, any IcmError, ends the call."""

    async def ready(self) -> None:
        """Returns when the client may say something: before a stream's next message is read, and before the one message
        of another call is parsed.
        """

    async def received(self, size: int) -> None:
        """A message of the client came, of so many bytes, and is not parsed yet."""

    async def sending(self) -> None:
        """A message of a stream is about to leave."""


class CallGuard(ABC):
    """Base of guards; ``GuardedCalls`` asks them."""

    @abstractmethod
    def watch(self, context: Any) -> AbstractAsyncContextManager[CallWatch]:
        """Entered when a call begins and left when it is over. Entering raises an IcmError to refuse the call."""
