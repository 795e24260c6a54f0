"""Whether a camera that sends no picture is still there, as the kernel's TCP sees it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress

_ESTABLISHED = 1
"""The first byte of Linux's ``struct tcp_info``."""
_PROBES = 2


class Connections:
    """This process's TCP connections: FFmpeg opens them, and keeps to itself which."""

    def __init__(self, patience_seconds: float) -> None:
        """Derives the times of TCP's probes from the patience.

        Args:
            patience_seconds: after them a peer that does not even acknowledge counts as gone.
        """
        self._idle = max(1, round(patience_seconds / 2))
        self._between = max(1, round(patience_seconds / 2 / _PROBES))

    def alive(self) -> bool:
        """Whether there is a connection whose other side still acknowledges.

        The kernel ends one whose peer has gone without a word after ``patience_seconds``, and FFmpeg reports an error.
        """
        # Each is looked at, so that all are probed.
        return any([self._is_alive(connection) for connection in _tcp_sockets()])

    def _is_alive(self, connection: socket.socket) -> bool:
        with connection, suppress(OSError, AttributeError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self._idle)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self._between)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
        # A system that cannot tell.
        return False


def _tcp_sockets() -> Iterator[socket.socket]:
    """A handle of its own on each, to be closed by the caller."""
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                # It may have been closed meanwhile; a copy stays what it was.
                copy = os.dup(int(name))
                if not stat.S_ISSOCK(os.fstat(copy).st_mode):
                    os.close(copy)
                    continue
                connection = socket.socket(fileno=copy)
                if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
                    yield connection
                else:
                    connection.close()
