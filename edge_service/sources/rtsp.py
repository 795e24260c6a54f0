"""A network camera."""

from __future__ import annotations

from edge_service.rtsp_address import parse_rtsp
from edge_service.sources.device import DeviceSource
from icm.service.clock import Clock

_OPTIONS = {
    # Over UDP a congested network tears pictures apart.
    "rtsp_transport": "tcp",
    # FFmpeg would look at a stream for five seconds before it hands out the first picture.
    "probesize": "32",
    # It would hold each frame back until the next one begins.
    "fflags": "noparse+nofillin",
}


def rtsp_source(url: str, timeout_seconds: float, clock: Clock) -> DeviceSource:
    """The camera at an rtsp:// address, over TCP.

    Raises:
        ConfigError: the address is none.
    """
    address = parse_rtsp(url)
    return DeviceSource(address.url, address.shown, "rtsp", _OPTIONS, timeout_seconds, clock)
