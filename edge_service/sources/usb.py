"""A camera on this machine."""

from __future__ import annotations

from edge_service.sources.device import DeviceSource
from icm.service.clock import Clock

_FORMAT = "video4linux2"


def usb_source(device: str, timeout_seconds: float, clock: Clock) -> DeviceSource:
    """The Video4Linux camera at a device file such as /dev/video0.

    Nothing but its pictures tells that it is still there, so ``timeout_seconds`` bounds the wait for each.
    """
    return DeviceSource(device, device, _FORMAT, {}, timeout_seconds, clock)
