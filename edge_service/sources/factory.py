"""From a camera's settings to its source."""

from __future__ import annotations

from typing import assert_never

from edge_service.settings import (
    FileSourceSettings,
    FolderSourceSettings,
    RtspSourceSettings,
    SourceSettings,
    SubmittedSourceSettings,
    UsbSourceSettings,
)
from edge_service.sources.base import Source
from edge_service.sources.file import FileSource
from edge_service.sources.folder import FolderSource
from edge_service.sources.rtsp import rtsp_source
from edge_service.sources.submitted import SubmittedSource
from edge_service.sources.usb import usb_source
from icm.service.clock import Clock


def make_source(settings: SourceSettings, clock: Clock) -> Source:
    """The source that a camera's settings describe; nothing is opened yet."""
    match settings:
        case FileSourceSettings():
            return FileSource(settings.path, settings.pace == "real_time", settings.loop, clock)
        case FolderSourceSettings():
            return FolderSource(settings.path, settings.fps, clock)
        case RtspSourceSettings():
            return rtsp_source(settings.url, settings.timeout_seconds, clock)
        case UsbSourceSettings():
            return usb_source(settings.device, settings.timeout_seconds, clock)
        case SubmittedSourceSettings():
            return SubmittedSource()
        case _:
            assert_never(settings)
