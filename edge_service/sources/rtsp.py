"""A network camera."""

from __future__ import annotations

from edge_service.rtsp_address import parse_rtsp
from edge_service.sources.device import DeviceSource
from shared.clock import Clock


def rtsp_source(url: str, timeout_seconds: float, clock: Clock) -> DeviceSource:
    """The camera at an rtsp:// address, over TCP: over UDP a congested network tears pictures apart.

    Raises:
        ConfigError: the address is none.
    """
    address = parse_rtsp(url)
    return DeviceSource(address.url, address.shown, "rtsp", {"rtsp_transport": "tcp"}, timeout_seconds, clock)
