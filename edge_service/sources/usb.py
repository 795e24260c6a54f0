"""A camera on this machine."""

from __future__ import annotations

from edge_service.sources.device import DeviceSource
from icm.service.clock import Clock

_TIMEOUT_SECONDS = 8.0
"""Longest wait for a picture; some cameras take seconds to warm up."""


def usb_source(device: str, clock: Clock) -> DeviceSource:
    """The Video4Linux camera at a device file such as /dev/video0."""
    return DeviceSource(device, device, "video4linux2", {}, _TIMEOUT_SECONDS, clock)
