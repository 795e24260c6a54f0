"""A network camera."""

from __future__ import annotations

from edge_service.sources.device import DeviceSource
from shared.clock import Clock
from shared.redaction import redacted


def rtsp_source(url: str, timeout_seconds: float, clock: Clock) -> DeviceSource:
    """The camera at an rtsp:// address, over TCP: over UDP a congested network tears pictures apart."""
    return DeviceSource(url, redacted(url), "rtsp", {"rtsp_transport": "tcp"}, timeout_seconds, clock)
