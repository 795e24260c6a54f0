"""A camera opened by a child process, because opening a dead one may hang for ever and only a process can be killed."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from edge_service.sources import capture
from edge_service.sources.base import Frame
from shared.clock import Clock
from shared.codec.record import check_size
from shared.errors import RecordError, SourceError
from shared.quiet import STOPS

_POLL_SECONDS = 0.2
"""How soon a stop is noticed while no picture comes."""


class DeviceSource:
    """Newest pictures of something that FFmpeg can open by URL and format."""

    live = True

    def __init__(
        self, url: str, shown: str, format: str | None, options: dict[str, str], timeout_seconds: float, clock: Clock
    ) -> None:
        """Args:
        shown: the URL as errors may show it.
        timeout_seconds: longest wait for the first or any next picture.
        """
        self._order = json.dumps({"url": url, "format": format, "options": options}).encode() + b"\n"
        self._url, self._shown, self._timeout, self._clock = url, shown, timeout_seconds, clock

    def check(self) -> None:
        """Nothing: a camera may be away now and come back later."""

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """See ``Source.frames``; never ends by itself but with an error."""
        command = [sys.executable, "-P", capture.__file__]
        # A terminal and a service manager tell the child to stop as well. It is this process that ends it, in order and
        # without an alarm. What a thread blocks, a process that it starts blocks from its first moment on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPS, signal.SIGHUP))
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
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                deadline = self._clock.monotonic() + self._timeout
                head = self._read(pipe, capture.MESSAGE.size, selector, deadline, stop)
                if head is None:
                    return
                kind, width, height, capture_us, length = capture.MESSAGE.unpack(head)
                if kind == capture.FRAME:
                    self._check_size(width, height)
                body = self._read(pipe, length, selector, deadline, stop)
                if body is None:
                    return
                if kind == capture.ERROR:
                    text = body.decode(errors="replace").replace(self._url, self._shown)
                    raise SourceError(f"no picture from {self._shown}: {text}")
                yield Frame(np.frombuffer(body, np.uint8).reshape(height, width, 3), capture_us)

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
                    f"no picture from {self._shown} within {self._timeout:g} s: is the camera on and reachable?"
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
