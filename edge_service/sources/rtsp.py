"""A network camera."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from edge_service.sources.device import DeviceSource
from shared.clock import Clock


def rtsp_source(url: str, timeout_seconds: float, clock: Clock) -> DeviceSource:
    """The camera at an rtsp:// address, over TCP: over UDP a congested network tears pictures apart."""
    return DeviceSource(url, without_password(url), "rtsp", {"rtsp_transport": "tcp"}, timeout_seconds, clock)


def without_password(url: str) -> str:
    """The address as a log may show it."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))
