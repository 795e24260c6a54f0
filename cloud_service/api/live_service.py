"""LiveService: what cameras show now, for other programs and the viewer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from cloud_service.access.access import ANYBODY, Access
from cloud_service.api.answers import duration, errors_answered, timestamp
from cloud_service.api.archive_service import detections_message
from cloud_service.events.event import FrameEvent
from cloud_service.live.hub import LiveHub
from cloud_service.live.shown import WIDTHS, Shown, fitting_width
from cloud_service.live.states import State
from cloud_service.live.watcher import Update
from icm.camera_name import check_camera_name
from icm.errors import BusyError, ConfigError
from icm.rpc.limits import client_of
from icm.v1 import live_pb2 as pb
from icm.v1.live_pb2_grpc import LiveServiceServicer

MOST_STREAMS = 256
"""Of one caller at once."""
_MOST_CAMERAS = 256
_MOST_FPS = 1000.0
_STATES = {
    State.LIVE: pb.LIVE_STATE_LIVE,
    State.LATE: pb.LIVE_STATE_LATE,
    State.SILENT: pb.LIVE_STATE_SILENT,
    State.EMPTY: pb.LIVE_STATE_EMPTY,
}


class LiveService(LiveServiceServicer):
    """See live.proto."""

    def __init__(self, hub: LiveHub, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            access: who may watch which camera.
        """
        self._hub, self._access = hub, access
        self._streams: Counter[str] = Counter()

    async def WatchFrames(self, request: pb.WatchFramesRequest, context: Any) -> AsyncIterator[pb.WatchFramesResponse]:
        """See live.proto."""
        async with errors_answered(context):
            cameras = self._cameras(request, context)
            width, fps = _bounds(request)
            with self._counted(client_of(context)), self._hub.watch(cameras, fps) as watcher:
                # The headers are the caller's sign that it is told everything from now on.
                await context.send_initial_metadata(())
                # A frame is taken when the one before is on its way, so that a slow reader gets new ones.
                while (update := await watcher.next()) is not None:
                    yield await self._message(update, width)

    def _cameras(self, request: pb.WatchFramesRequest, context: Any) -> frozenset[str] | None:
        caller = self._access.caller(context)
        if len(request.cameras) > _MOST_CAMERAS:
            raise ConfigError(f"WatchFrames: {len(request.cameras)} cameras, and {_MOST_CAMERAS} at most in one call")
        for camera in request.cameras:
            caller.check_reads(check_camera_name(camera))
        if not request.cameras:
            caller.check_reads("")
        return frozenset(request.cameras) or None

    @contextmanager
    def _counted(self, caller: str) -> Iterator[None]:
        if self._streams[caller] >= MOST_STREAMS:
            raise BusyError(f"{caller} watches {MOST_STREAMS} times already: end one call before the next")
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

    async def _message(self, update: Update, width: int) -> pb.WatchFramesResponse:
        state = update.state
        return pb.WatchFramesResponse(
            camera=update.camera,
            state=_STATES[state.state],
            age=duration(round(state.age * 1e6)) if state.age is not None else None,
            frame=await self._frame(update.shown, width) if update.shown is not None else None,
        )

    async def _frame(self, shown: Shown, width: int) -> pb.LiveFrame:
        found = shown.detections
        return pb.LiveFrame(
            frame=shown.key.to_message(),
            capture_time=timestamp(shown.capture_us),
            stored_time=timestamp(shown.stored_us) if shown.stored_us is not None else None,
            jpeg=await shown.jpeg(width, self._hub.making),
            width=shown.width,
            height=shown.height,
            detections=detections_message(FrameEvent(shown.key, shown.capture_us, shown.model, tuple(found)))
            if found is not None
            else None,
            reused_from=shown.reused_from or 0,
        )


def _bounds(request: pb.WatchFramesRequest) -> tuple[int, float]:
    """The width and the frames a second that are asked for."""
    if request.max_width and request.max_width < WIDTHS[0]:
        raise ConfigError(f"WatchFrames: max_width is {request.max_width}: give {WIDTHS[0]} or more, or 0 for no limit")
    fps = request.max_fps
    if not (math.isfinite(fps) and 0 <= fps <= _MOST_FPS):
        raise ConfigError(f"WatchFrames: max_fps is {fps:g}: give 0 for no limit, or up to {_MOST_FPS:g}")
    return fitting_width(request.max_width), fps
