"""The viewer's metrics, and the layer of the application that counts requests."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm.version import VERSION

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNKNOWN = "(none)"
"""In place of the page, where an address leads to none."""


class ViewerMetrics:
    """All of them, in a registry of their own. ``page`` is the path of a route, so there are few."""

    def __init__(self) -> None:
        """Creates the metrics."""
        self.registry = CollectorRegistry()
        self.requests = Counter("icm_viewer_requests", "Requests answered.", ["page", "status"], registry=self.registry)
        self.seconds = Histogram(
            "icm_viewer_request_seconds",
            "From a request until its answer began.",
            ["page"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.logins = Counter("icm_viewer_logins", "Attempts to log in.", ["outcome"], registry=self.registry)
        Gauge("icm_build_info", "Always 1; what runs is in the labels.", ["version"], registry=self.registry).labels(
            VERSION
        ).set(1)


class CountedRequests:
    """Counts requests and times them. The page's route leaves its path in ``scope["page"]``."""

    def __init__(self, app: ASGIApp, metrics: ViewerMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                page = scope.get("page", UNKNOWN)
                self._metrics.requests.labels(page, str(message["status"])).inc()
                self._metrics.seconds.labels(page).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, noted)
