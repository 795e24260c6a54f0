"""What cameras show now, as clients get it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import grpc

from icm.client.connection import FIRST_RETRY_SECONDS, Connection
from icm.client.messages import Detections, time_of
from icm.frame_id import FrameId
from icm.rpc.status import error_of
from icm.v1 import live_pb2, live_pb2_grpc

LiveState = Literal["live", "late", "silent", "empty", "unknown"]
_STATES: dict[int, LiveState] = {
    live_pb2.LIVE_STATE_LIVE: "live",
    live_pb2.LIVE_STATE_LATE: "late",
    live_pb2.LIVE_STATE_SILENT: "silent",
    live_pb2.LIVE_STATE_EMPTY: "empty",
}


@dataclass(frozen=True)
class LiveFrame:
    """A frame that is shown live.

    Attributes:
        frame: which one.
        captured: when it was captured, UTC.
        stored: when the cloud had it on the disk, UTC; None where that is not known.
        jpeg: the picture, a JPEG file, as wide as was asked for at most.
        width: columns of the coded frame, whose pixels the boxes are in.
        height: rows of the coded frame.
        detections: what is in it; None if no detector looks, or if it failed.
        reused_from: the earlier frame whose detections these are; None if this one was looked at itself.
    """

    frame: FrameId
    captured: datetime
    stored: datetime | None
    jpeg: bytes
    width: int
    height: int
    detections: Detections | None
    reused_from: FrameId | None

    @staticmethod
    def of(message: live_pb2.LiveFrame) -> LiveFrame:
        frame = FrameId.from_message(message.frame)
        return LiveFrame(
            frame=frame,
            captured=time_of(message.capture_time),
            stored=time_of(message.stored_time) if message.HasField("stored_time") else None,
            jpeg=message.jpeg,
            width=message.width,
            height=message.height,
            detections=Detections.of(message.detections) if message.HasField("detections") else None,
            reused_from=frame._replace(sequence=message.reused_from) if message.reused_from else None,
        )


@dataclass(frozen=True)
class LiveNews:
    """What is new of a camera.

    Attributes:
        camera: its name.
        state: "live"; "late" where its frames come long after their capture; "silent" where none come; "empty" where
            none ever came; "unknown" where this client is too old for what the cloud says.
        age: since the capture of its newest frame, by the cloud's clock; None if there is none.
        frame: its newest frame; None where only the state is new.
    """

    camera: str
    state: LiveState
    age: timedelta | None
    frame: LiveFrame | None

    @staticmethod
    def of(message: live_pb2.WatchFramesResponse) -> LiveNews:
        return LiveNews(
            message.camera,
            _STATES.get(message.state, "unknown"),
            timedelta(microseconds=message.age.ToMicroseconds()) if message.HasField("age") else None,
            LiveFrame.of(message.frame) if message.HasField("frame") else None,
        )


class LiveCalls:
    """What ``CloudClient`` shows live."""

    _connection: Connection
    _channel: grpc.Channel

    def watch_frames(
        self, cameras: Sequence[str] = (), *, max_width: int = 0, max_fps: float = 0.0
    ) -> Generator[LiveNews, None, None]:
        """Frames as the cloud is done with them, from now on, without end; a broken connection is made anew.

        The newest frame of each camera comes, so who takes them slowly gets fewer, and never old ones. A camera that
        falls silent is told of too.

        Args:
            cameras: these; empty for all, also those to come.
            max_width: columns of the pictures at most, 160 or more; 0 for as they were coded.
            max_fps: frames a second of each camera at most; 0 for all that can be sent.

        Raises:
            ConfigError: one of them cannot be.
            BusyError: this client has too many such calls at once.
            UnreachableError: the cloud could not be reached for as long as a call may take.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        attempts = self._connection.attempts(sent_twice=True)
        request = live_pb2.WatchFramesRequest(cameras=cameras, max_width=max_width, max_fps=max_fps)
        while True:
            call = live_pb2_grpc.LiveServiceStub(self._channel).WatchFrames(request, metadata=self._connection.metadata)
            try:
                for answer in call:
                    attempts.renew()
                    yield LiveNews.of(answer)
                # The cloud stops, and may come back.
                time.sleep(FIRST_RETRY_SECONDS)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise error_of(error, self._connection.address) from None
                time.sleep(attempts.wait_after(error))
            finally:
                call.cancel()


class AsyncLiveCalls:
    """What ``AsyncCloudClient`` shows live."""

    _connection: Connection
    _channel: grpc.aio.Channel

    async def watch_frames(
        self, cameras: Sequence[str] = (), *, max_width: int = 0, max_fps: float = 0.0
    ) -> AsyncGenerator[LiveNews, None]:
        """As ``CloudClient.watch_frames``."""
        attempts = self._connection.attempts(sent_twice=True)
        request = live_pb2.WatchFramesRequest(cameras=cameras, max_width=max_width, max_fps=max_fps)
        stub: Any = live_pb2_grpc.LiveServiceStub(self._channel)
        while True:
            call = stub.WatchFrames(request, metadata=self._connection.metadata)
            try:
                async for answer in call:
                    attempts.renew()
                    yield LiveNews.of(answer)
                await asyncio.sleep(FIRST_RETRY_SECONDS)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise error_of(error, self._connection.address) from None
                await asyncio.sleep(attempts.wait_after(error))
            finally:
                call.cancel()
