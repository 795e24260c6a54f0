"""Clients of an edge's frame API: they hand over pictures and learn what became of them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc

from icm.client.connection import AsyncClosing, Closing, Connection, Tls
from icm.client.messages import Submitted
from icm.errors import ConfigError, ImageError
from icm.v1 import camera_pb2, camera_pb2_grpc, frame_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ANSWER_SECONDS = 2.0
"""What is left for the answer of a call that waits for detections."""


class EdgeClient(Closing):
    """Hands pictures to an edge, for programs without an event loop. Threads may share one.

    A picture is sent once at most: a call waits for the connection, and comes back while the edge is busy, until its
    time is over; once a picture was sent, a broken connection is an error.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:7444",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        allow_plaintext: bool = False,
    ) -> None:
        """Connects with the first call.

        Args:
            address: ``host:port`` of the edge's frame API.
            tls: whom to believe; None to speak plaintext.
            token: what ``icm-edge token`` printed; None if the edge asks for none.
            timeout: seconds that a call may take.
            allow_plaintext: whether plaintext may leave this machine.

        Raises:
            ConfigError: one of them cannot be.
        """
        self._connection = Connection(address, tls=tls, token=token, timeout=timeout, allow_plaintext=allow_plaintext)
        self._channel = self._connection.channel()
        self._stub = camera_pb2_grpc.CameraServiceStub(self._channel)

    def submit(
        self,
        camera: str,
        image: NDArray[np.uint8] | bytes,
        *,
        quality: float | None = None,
        captured: datetime | None = None,
        wait: bool = False,
    ) -> Submitted:
        """Hands over one picture.

        Args:
            camera: one that the edge's settings list with the source kind "submitted".
            image: uint8[H, W, 3], RGB; or the bytes of a JPEG or PNG file.
            quality: level, 0 (fewest bits) to the bundle's highest; None for the camera's own.
            captured: when the picture was taken, with its time zone; None for now.
            wait: whether to wait for the cloud's detections, for as long as the call may take.

        Returns:
            What became of it. It lies in the edge's spool, which delivers it whatever happens to the network.

        Raises:
            ImageError: it is no picture, or a too large one.
            NotFoundError: there is no such camera.
            ConfigError: quality or time cannot be.
            UnauthenticatedError: the token is not known.
            PermissionDeniedError: the token is for other cameras.
            SpoolFullError: the edge's disk is full and its policy is to refuse.
            UnreachableError: the edge cannot be reached, or did not answer in time; what was sent may have arrived.
        """
        attempts = self._connection.attempts(sent_twice=False)
        frame = _frame(image, captured)
        while True:
            try:
                answer = self._stub.SubmitFrame(
                    _request(camera, frame, quality, attempts.remaining if wait else None),
                    timeout=attempts.remaining,
                    metadata=self._connection.metadata,
                    wait_for_ready=True,
                )
                return Submitted.of(answer)
            except grpc.RpcError as error:
                time.sleep(attempts.wait_after(error))


class AsyncEdgeClient(AsyncClosing):
    """As ``EdgeClient``, for programs of asyncio. Use it within one event loop."""

    def __init__(
        self,
        address: str = "127.0.0.1:7444",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        allow_plaintext: bool = False,
    ) -> None:
        """As of ``EdgeClient``."""
        self._connection = Connection(address, tls=tls, token=token, timeout=timeout, allow_plaintext=allow_plaintext)
        self._channel = self._connection.aio_channel()
        self._stub: Any = camera_pb2_grpc.CameraServiceStub(self._channel)

    async def submit(
        self,
        camera: str,
        image: NDArray[np.uint8] | bytes,
        *,
        quality: float | None = None,
        captured: datetime | None = None,
        wait: bool = False,
    ) -> Submitted:
        """As ``EdgeClient.submit``."""
        attempts = self._connection.attempts(sent_twice=False)
        frame = _frame(image, captured)
        while True:
            try:
                answer = await self._stub.SubmitFrame(
                    _request(camera, frame, quality, attempts.remaining if wait else None),
                    timeout=attempts.remaining,
                    metadata=self._connection.metadata,
                    wait_for_ready=True,
                )
                return Submitted.of(answer)
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.wait_after(error))


def _request(
    camera: str, frame: frame_pb2.Frame, quality: float | None, remaining: float | None
) -> camera_pb2.SubmitFrameRequest:
    request = camera_pb2.SubmitFrameRequest(camera=camera, frame=frame, quality=quality)
    if remaining is not None:
        # A share of a short time, so that the answer comes before the deadline in any case.
        request.wait_for_detections.FromMilliseconds(round(1000 * max(remaining - ANSWER_SECONDS, remaining / 2)))
    return request


def _frame(image: Any, captured: datetime | None) -> frame_pb2.Frame:
    frame = frame_pb2.Frame()
    if captured is not None:
        if captured.tzinfo is None:
            raise ConfigError(f"the time {captured} has no time zone: give one, such as datetime.now(datetime.UTC)")
        frame.capture_time.FromDatetime(captured.astimezone(UTC))
    if isinstance(image, bytes | bytearray | memoryview):
        frame.encoded = bytes(image)
        return frame
    if not hasattr(image, "__array_interface__"):
        raise ImageError(
            f"a picture is an array uint8[H, W, 3] or the bytes of a JPEG or PNG file, not {type(image).__name__}"
        )
    import numpy as np  # a client that only sends files needs none

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(f"a picture is uint8[H, W, 3], RGB, not {pixels.dtype}{list(pixels.shape)}")
    height, width = pixels.shape[:2]
    frame.raw.CopyFrom(frame_pb2.RawImage(width=width, height=height, rgb=pixels.tobytes()))
    return frame
