"""Frames as clients list them, and as they get them for people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from icm.client.messages import time_of
from icm.errors import ConfigError
from icm.frame_id import FrameId
from icm.v1 import frames_pb2, frames_pb2_grpc


@dataclass(frozen=True)
class StoredFrame:
    """A frame that a cloud holds.

    Attributes:
        frame: which one.
        captured: when it was captured, UTC.
        bytes: of its coded latents.
        intra: whether it is coded without reference to another one.
    """

    frame: FrameId
    captured: datetime
    bytes: int
    intra: bool

    @staticmethod
    def of(message: frames_pb2.StoredFrame) -> StoredFrame:
        return StoredFrame(
            FrameId.from_message(message.frame), time_of(message.capture_time), message.bytes, message.intra
        )


class FrameCalls(ABC):
    """What ``CloudClient`` does about frames."""

    _channel: Any

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    def frames(
        self, camera: str, start: datetime, end: datetime, *, most: int = 1000, newest: bool = False
    ) -> list[StoredFrame]:
        """A camera's frames of a stretch of time, by capture time.

        Args:
            camera: its name.
            start: captured at or after this, with its time zone.
            end: captured before this, an hour later at most.
            most: how many at most, 1 to 1000.
            newest: of more than that, those captured last and not those captured first.

        Raises:
            ConfigError: a time has no time zone, or one of the others cannot be.
            NotFoundError: there is no such camera.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        stub = frames_pb2_grpc.FramesServiceStub(self._channel)
        answer = self._ask(stub.ListFrames, _list_request(camera, start, end, most, newest))
        return [StoredFrame.of(frame) for frame in answer.frames]


class AsyncFrameCalls(ABC):
    """What ``AsyncCloudClient`` does about frames."""

    _channel: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    async def frames(
        self, camera: str, start: datetime, end: datetime, *, most: int = 1000, newest: bool = False
    ) -> list[StoredFrame]:
        """As ``CloudClient.frames``."""
        stub: Any = frames_pb2_grpc.FramesServiceStub(self._channel)
        answer = await self._ask(stub.ListFrames, _list_request(camera, start, end, most, newest))
        return [StoredFrame.of(frame) for frame in answer.frames]


def _list_request(camera: str, start: datetime, end: datetime, most: int, newest: bool) -> frames_pb2.ListFramesRequest:
    if most < 1:
        raise ConfigError(f"most is {most}: ask for 1 to 1000 frames")
    request = frames_pb2.ListFramesRequest(camera=camera, most=most, newest=newest)
    for name, moment in (("from", start), ("to", end)):
        if moment.tzinfo is None:
            raise ConfigError(f"the time {moment} has no time zone: give one, such as datetime.now(datetime.UTC)")
        getattr(request, name).FromDatetime(moment.astimezone(UTC))
    return request
