"""A camera opened by a child process, because opening a dead one may hang for ever and only a process can be killed."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from edge_service.sources import capture
from edge_service.sources.base import Frame, Source
from icm.codec.bitstream.record import check_size
from icm.errors import RecordError, SourceError
from icm.service.clock import Clock
from icm.service.command_line import STOPS

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
"""How soon a stop is noticed while no picture comes."""
SLOWEST_SECONDS = 2 * 3600.0
"""Longest wait for the next picture of a camera that is connected and may be one of a picture an hour."""
FIRST_PICTURE_SECONDS = 600.0
"""Longest wait for the very first picture; it doubles with each connection that brought none."""
_KEY_FRAME_SECONDS = 60.0
"""Where pictures are known to come fast, a connection's first one may still have to wait for a key frame."""
_INTERVALS = 3
"""So many times a camera's longest interval of late without a picture are too long a silence."""
_LATEST = 5
"""Intervals that are remembered."""


class DeviceSource(Source):
    """Newest pictures of something that FFmpeg can open by URL and format.

    A camera is given up when it shows no sign of life for ``timeout_seconds``. One that is slow, but connected over
    the network and there, is waited for: for three of its intervals once they are known, ``SLOWEST_SECONDS`` at most.
    """

    live = True

    def __init__(
        self, url: str, shown: str, format: str | None, options: dict[str, str], timeout_seconds: float, clock: Clock
    ) -> None:
        """Prepares the source; nothing is opened yet.

        Args:
            shown: the URL as errors may show it.
            timeout_seconds: longest wait for a picture, or for a sign that the camera is still there.
        """
        order = {"url": url, "format": format, "options": options, "timeout_seconds": timeout_seconds}
        self._order = json.dumps(order).encode() + b"\n"
        self._url, self._shown, self._timeout, self._clock = url, shown, timeout_seconds, clock
        self.damaged = 0
        self._pace = _Pace(timeout_seconds)

    def check(self) -> None:
        """Nothing: a camera may be away now and come back later."""

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See ``Source.frames``; never ends by itself but with an error."""
        command = [sys.executable, "-P", capture.__file__]
        # A terminal and a service manager stop the child as well. It is this process that ends it, in order and
        # without an alarm. What a thread blocks, a process that it starts blocks from its first moment on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        except OSError as error:
            raise SourceError(f"cannot start a process to read {self._shown}: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            # The order goes by pipe: a command line, which anyone may list, would show the password.
            with suppress(BrokenPipeError):
                child.stdin.write(self._order)
            yield from self._receive(child.stdout, stop)
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()

    def _receive(self, pipe: IO[bytes], stop: threading.Event) -> Iterator[Frame]:
        os.set_blocking(pipe.fileno(), False)
        self._pace.connect(self._clock.monotonic())
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while (message := self._message(pipe, selector, stop)) is not None:
                kind, width, height, capture_us, body = message
                if kind == capture.ERROR:
                    text = body.decode(errors="replace").replace(self._url, self._shown)
                    raise SourceError(f"no picture from {self._shown}: {text}")
                if kind == capture.DAMAGED:
                    self.damaged += 1
                elif kind == capture.ALIVE:
                    self._check_patience()
                else:
                    self._pace.picture(self._clock.monotonic())
                    yield Frame(np.frombuffer(body, np.uint8).reshape(height, width, 3), capture_us)

    def _message(
        self, pipe: IO[bytes], selector: selectors.BaseSelector, stop: threading.Event
    ) -> tuple[int, int, int, int, bytearray] | None:
        """The child's next message; None once stopped."""
        deadline = self._clock.monotonic() + self._timeout
        head = self._read(pipe, capture.MESSAGE.size, selector, deadline, stop)
        if head is None:
            return None
        kind, width, height, capture_us, length = capture.MESSAGE.unpack(head)
        if kind == capture.FRAME:
            self._check_size(width, height)
        body = self._read(pipe, length, selector, deadline, stop)
        return None if body is None else (kind, width, height, capture_us, body)

    def _check_patience(self) -> None:
        """The camera is there, but since when has it sent no picture?"""
        silent, patience = self._pace.silent(self._clock.monotonic()), self._pace.patience
        if silent > patience:
            self._pace.give_up(silent)
            raise SourceError(
                f"no picture from {self._shown} for {silent:.0f} s, though it is connected; longest wait {patience:g} s"
            )
        if silent > self._timeout and self._pace.surprising:
            _log.warning("no picture from %s yet, but it is connected; waiting for %g s", self._shown, patience)

    def _read(
        self,
        pipe: IO[bytes],
        length: int,
        selector: selectors.BaseSelector,
        deadline: float,
        stop: threading.Event,
    ) -> bytearray | None:
        """So many bytes; None once stopped."""
        data = bytearray(length)
        view, position = memoryview(data), 0
        while position < length:
            if stop.is_set():
                return None
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise SourceError(
                    f"no picture from {self._shown} within {self._timeout:g} s: is the camera on and reachable, and"
                    " faster than its timeout_seconds?"
                )
            if not selector.select(min(left, _POLL_SECONDS)):
                continue
            count = os.readv(pipe.fileno(), [view[position:]])
            if count == 0:
                raise SourceError(f"no picture from {self._shown}: the capture process died")
            position += count
        return data

    def _check_size(self, width: int, height: int) -> None:
        try:
            check_size(width, height)
        except RecordError as error:
            raise SourceError(f"the camera at {self._shown} cannot be used: {error}") from None


class _Pace:
    """How far apart a camera's pictures are, over all its connections, and how long a silence may so be."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._intervals: deque[float] = deque(maxlen=_LATEST)
        self._first_picture = FIRST_PICTURE_SECONDS
        self._since = 0.0
        self._any = self._said = False

    def connect(self, now: float) -> None:
        """A connection begins."""
        if self._since and not self._any:
            self._first_picture = min(2 * self._first_picture, SLOWEST_SECONDS)
        self._since, self._any, self._said = now, False, False

    def picture(self, now: float) -> None:
        """One came."""
        if self._any:
            self._intervals.append(now - self._since)
        self._since, self._any, self._said = now, True, False

    def give_up(self, silent: float) -> None:
        """The silence was too long; after a picture it may all the same have been the camera's way."""
        if self._any:
            self._intervals.append(silent)

    def silent(self, now: float) -> float:
        """Seconds since the last picture of this connection, or since it began."""
        return now - self._since

    @property
    def patience(self) -> float:
        """Longest silence in seconds that this camera is granted while it is connected."""
        if not self._intervals:
            return SLOWEST_SECONDS if self._any else self._first_picture
        usual = max(self._timeout, _INTERVALS * max(self._intervals))
        return min(usual if self._any else max(usual, _KEY_FRAME_SECONDS), SLOWEST_SECONDS)

    @property
    def surprising(self) -> bool:
        """Whether a silence is worth a word: once a silence, where it is not the camera's way."""
        known = bool(self._intervals) and max(self._intervals) > self._timeout
        said, self._said = self._said, True
        return not said and not known
