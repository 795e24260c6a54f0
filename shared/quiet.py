"""How a command ends when it is interrupted, or when nobody reads what it prints: at once, and without a traceback.

A command's module imports this and little else, so that its first line runs before anything that takes seconds.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import asyncio

STOPS = (signal.SIGINT, signal.SIGTERM)
"""What people, terminals and service managers stop a process with."""
EXIT_UNREAD = 128 + signal.SIGPIPE
"""Exit status when the reader of what a command prints is gone, as a shell shows that of a program killed by it."""
_EXIT_UNWRITTEN = 2


def run_quietly(name: str, run: Callable[[], int], tidy: Callable[[signal.Signals], None] | None = None) -> int:
    """Runs this process's command; returns its exit status.

    Until ``run`` sets up something better, a signal to stop ends the process on the spot.

    Args:
        name: of the command, for the one line on stderr when what it prints cannot be written.
        tidy: called before such an end.
    """
    leaving = _Leaving(tidy)
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            signal.signal(number, leaving)
    try:
        leaving.status = run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:
        # A help text ends with SystemExit, and may have found no reader either.
        unwritten = _unwritten(error)
        if unwritten is None:
            raise
        leaving.status = EXIT_UNREAD
        if not isinstance(unwritten, BrokenPipeError):
            leaving.status = _EXIT_UNWRITTEN
            print(f"{name}: cannot write standard output: {unwritten.strerror}", file=sys.stderr)
    return leaving.status


@contextmanager
def stopping(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """Within the block a signal to stop calls ``stop``; one that comes later changes nothing any more."""
    for number in STOPS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        # In between, the loop puts Python's own handler in place, which raises KeyboardInterrupt.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        for number in STOPS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class _Leaving:
    """Handles signals. Attributes: status, to exit with once the work is done; None before."""

    def __init__(self, tidy: Callable[[signal.Signals], None] | None) -> None:
        self._tidy = tidy
        self.status: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.status is None and self._tidy is not None:
            self._tidy(signal.Signals(number))
        # Not by an exception: that would come up in the middle of any library, which may print and swallow it.
        os._exit(128 + number if self.status is None else self.status)


def _unwritten(error: BaseException) -> OSError | None:
    """Why what was printed cannot be written, or None if that is not it; then nothing more is tried."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError as reason:
            found = reason
        else:
            # A stream without a buffer has nothing left to fail with.
            if not (isinstance(error, BrokenPipeError) and _reader_gone(stream)):
                continue
            found = error
        # What is left would be tried again, in vain, when the interpreter ends.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return found
    return None


def _reader_gone(stream: TextIO) -> bool:
    watch = select.poll()
    watch.register(stream.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))
