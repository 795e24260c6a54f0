"""Logs, metrics and health over HTTP, the same way in both services."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, Histogram, make_wsgi_app

from icm.redaction import redacted
from icm.service.bounded_http import BoundedServer

STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds one stage may take."""
_REQUEST_SECONDS = 10
"""After which a client that sends nothing loses its connection, and its thread ends."""
LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Seconds from capture to somewhere; an hour, because a spool may hold frames back."""


class _Formatter(logging.Formatter):
    """Redacts whole lines: a library's messages and tracebacks may quote an address with its password."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def configure_logging(level: str) -> None:
    """One line per event on stderr: UTC time, level, module, text; secrets are left out."""
    formatter = _Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observes how long the block took, also when it raises."""
    started = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - started)


class _QuietHandler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        logging.getLogger(__name__).debug(format, *args)


class TelemetryServer:
    """Serves ``/metrics`` and ``/healthz`` on its own thread.

    ``/healthz`` answers 200 with the word ``ok`` while ``problems()`` is empty, else 503 with a problem a line.
    """

    def __init__(self, address: str, registry: CollectorRegistry, problems: Callable[[], list[str]]) -> None:
        """Listens at ``host:port``; port 0 picks a free one.

        Raises:
            ListenError: the address cannot be listened on.
        """
        self._metrics = make_wsgi_app(registry)
        self._problems = problems
        self._server = BoundedServer(address, _QuietHandler)
        self._server.set_app(self._answer)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Gives the address back; also where it was never started."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            result: Iterable[bytes] = self._metrics(environ, start_response)
            return result
        if path == "/healthz":
            problems = self._problems()
            text = "\n".join(problems) or "ok"
            start_response("503 Service Unavailable" if problems else "200 OK", [("Content-Type", "text/plain")])
            return [text.encode() + b"\n"]
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there is /metrics and /healthz\n"]
