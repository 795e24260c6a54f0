"""How a service learns that it is to stop, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from icm.service.command_line import heeded


@contextmanager
def stopping(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Within the block a signal to stop calls ``stop``; one that comes later changes nothing any more."""
    numbers = heeded()
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        # In between, the loop puts Python's own handler in place, which raises KeyboardInterrupt.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
