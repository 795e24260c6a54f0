"""A small HTTP server that a slow or hostile client can neither fill with threads nor keep others from."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from socketserver import TCPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from icm.config.addresses import listening_place, parse_address, why_not_listening
from icm.errors import ListenError

log = logging.getLogger(__name__)
MOST_REQUESTS = 16
"""At once; each has a thread. One more, and the one that takes longest is cut off."""
_CUT_SECONDS = 2.0
"""Longest wait for the thread of a request that was cut off."""


class BoundedServer(WSGIServer):
    """Answers each request on a thread of its own, as long as there are few."""

    allow_reuse_address = True
    # Connections that wait to be looked at; beyond that a client tries again a second later.
    request_queue_size = 128

    def __init__(self, address: str, handler: type[WSGIRequestHandler]) -> None:
        """Listens at ``host:port``, of either family of addresses; port 0 picks a free one.

        Raises:
            ListenError: the address cannot be listened on.
        """
        try:
            self.address_family, place = listening_place(parse_address(address))
            super().__init__(place, handler)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {why_not_listening(error)}") from None
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MOST_REQUESTS)

    def server_bind(self) -> None:
        # Without the base's question to the DNS for this machine's name, which may take long and is of no use.
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """See ``socketserver.BaseServer``; called for one request after another."""
        if not self._places.acquire(blocking=False):
            self._cut_oldest()
            if not self._places.acquire(timeout=_CUT_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = None
        try:
            threading.Thread(target=self._answer, args=(request, client_address), name="http", daemon=True).start()
        except RuntimeError:
            # The system has no thread left. The base hangs up, and the next request finds its place free.
            self._leave(request)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, took too long or was cut off is no news."""
        log.debug("a request of %s broke off", client_address, exc_info=True)

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)
            self._leave(request)

    def _leave(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._places.release()

    def _cut_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._open), None)
            if oldest is not None:
                del self._open[oldest]
                # Wakes its thread out of reading or writing.
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
