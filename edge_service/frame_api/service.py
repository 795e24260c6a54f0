"""CameraService: clients hand over pictures and learn what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from edge_service.frame_api.control import CameraControl
from edge_service.frame_api.tokens import Tokens
from edge_service.images import raw_image, read_image
from edge_service.metrics import EdgeMetrics
from edge_service.rate.control import RateControl
from edge_service.sources import Frame, Spooled, SubmittedSource
from edge_service.sources.submitted import AT_ONCE
from edge_service.uplink.uplink import Uplink
from icm.codec.bitstream.record import LATEST_US, MAX_PIXELS
from icm.errors import ConfigError, IcmError, ImageError, NotFoundError, SpoolError, UplinkError
from icm.rpc.status import abort, code_of
from icm.service.clock import Clock
from icm.v1 import archive_pb2, archive_pb2_grpc, camera_pb2, camera_pb2_grpc, frame_pb2

ANSWERS_AHEAD = 4
"""Pictures of one stream that may be coded while an earlier one still waits for its detections."""

MOST_WAIT_SECONDS = 600
"""Longest that a client may wait for detections."""


@dataclass(frozen=True)
class SubmittedCamera:
    """A camera that clients submit to.

    Attributes:
        max_pixels: of a picture that it takes.
    """

    source: SubmittedSource
    uplink: Uplink
    max_pixels: int = MAX_PIXELS


class _Coded(NamedTuple):
    """A picture that is in the spool.

    Attributes:
        answer: to its client, without the detections.
        across: how many of the client's pixels a pixel of the coded picture spans in width; rate control may have made
            it smaller.
        down: the same in height.
    """

    answer: camera_pb2.SubmitFrameResponse
    across: float
    down: float


class FrameApi(camera_pb2_grpc.CameraServiceServicer):
    """Takes pictures for the cameras of source kind ``submitted``, and sets what all cameras are to reach."""

    def __init__(
        self,
        cameras: Mapping[str, SubmittedCamera],
        rates: Mapping[str, RateControl],
        highest_quality: float,
        cloud: grpc.aio.Channel,
        metrics: EdgeMetrics,
        clock: Clock,
        tokens: Tokens | None = None,
    ) -> None:
        """Creates the service.

        Args:
            cameras: by name.
            rates: of every camera, by name.
            cloud: channel to the archive that is asked for detections.
            tokens: those that clients must show; None to ask for none.
        """
        self._cameras, self._highest_quality, self._metrics, self._clock = cameras, highest_quality, metrics, clock
        self._tokens = tokens
        self._control = CameraControl(rates, highest_quality)
        self._decoding = ThreadPoolExecutor(AT_ONCE * max(1, len(cameras)), "decode-picture")
        self._archive = archive_pb2_grpc.ArchiveServiceStub(cloud)

    async def SubmitFrame(
        self, request: camera_pb2.SubmitFrameRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> camera_pb2.SubmitFrameResponse:
        try:
            self._check_token(context, request.camera)
            return await self._with_detections(request, await self._code(request))
        except IcmError as error:
            await abort(context, error)

    async def SubmitFrames(
        self,
        request_iterator: AsyncIterable[camera_pb2.SubmitFramesRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[camera_pb2.SubmitFramesResponse]:
        answers: asyncio.Queue[asyncio.Task[camera_pb2.SubmitFramesResponse] | None] = asyncio.Queue(ANSWERS_AHEAD)
        begun: set[asyncio.Task[camera_pb2.SubmitFramesResponse]] = set()

        async def code_all() -> None:
            try:
                async for request in request_iterator:
                    self._check_token(context, request.submit.camera)
                    coded = await self._code_or_error(request.submit)
                    answer = asyncio.create_task(self._stream_answer(request.submit, coded))
                    begun.add(answer)
                    answer.add_done_callback(begun.discard)
                    await answers.put(answer)
            finally:
                # Once cancelled, nobody takes answers any more, and a full queue would hold this up for ever.
                if not reader.cancelling():
                    await answers.put(None)

        reader = asyncio.create_task(code_all())
        try:
            while (answer := await answers.get()) is not None:
                yield await answer
            await reader
        except IcmError as error:
            await abort(context, error)
        finally:
            for task in (reader, *begun):
                task.cancel()
            await asyncio.gather(reader, *begun, return_exceptions=True)

    async def GetCamera(
        self, request: camera_pb2.GetCameraRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> camera_pb2.GetCameraResponse:
        try:
            self._check_token(context, request.camera)
            return await asyncio.to_thread(self._control.get, request.camera)
        except IcmError as error:
            await abort(context, error)

    async def SetRateControl(
        self, request: camera_pb2.SetRateControlRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> camera_pb2.SetRateControlResponse:
        try:
            self._check_token(context, request.camera)
            return await asyncio.to_thread(self._control.set, request.camera, request.rate_control)
        except IcmError as error:
            await abort(context, error)

    def _check_token(self, context: grpc.aio.ServicerContext[Any, Any], camera: str) -> None:
        if self._tokens is not None:
            self._tokens.check(context.invocation_metadata() or (), camera)

    async def _code_or_error(self, request: camera_pb2.SubmitFrameRequest) -> _Coded | IcmError:
        try:
            return await self._code(request)
        except IcmError as error:
            return error

    async def _stream_answer(
        self, request: camera_pb2.SubmitFrameRequest, coded: _Coded | IcmError
    ) -> camera_pb2.SubmitFramesResponse:
        if isinstance(coded, IcmError):
            error = camera_pb2.SubmitError(code=code_of(coded).value[0], message=str(coded))
            return camera_pb2.SubmitFramesResponse(error=error)
        return camera_pb2.SubmitFramesResponse(submitted=await self._with_detections(request, coded))

    async def _code(self, request: camera_pb2.SubmitFrameRequest) -> _Coded:
        """Checks a picture and brings it into the spool."""
        camera = self._cameras.get(request.camera)
        if camera is None:
            known = ", ".join(sorted(self._cameras)) or "none"
            raise NotFoundError(
                f"no camera {request.camera[:80]!r} takes submitted pictures; those that do: {known}"
                " (source kind 'submitted' in the edge's settings)"
            )
        try:
            return await self._spool(request, camera)
        except IcmError:
            self._metrics.losses.refused(request.camera)
            raise

    async def _spool(self, request: camera_pb2.SubmitFrameRequest, camera: SubmittedCamera) -> _Coded:
        quality = self._quality(request)
        capture_us = self._capture_us(request.frame)
        _check_wait(request)
        async with camera.source.turn() as turn:
            # Threads of its own: none of those that the spool and its settlement need. A client that goes away leaves
            # its picture's decoding behind, and the turn with it, so that it makes no room for one more.
            turn.work = self._decoding.submit(_picture, request.frame, camera.max_pixels)
            image = await asyncio.wrap_future(turn.work)
            result: Future[Spooled] = Future()
            camera.source.submit(Frame(image, capture_us, quality, result))
            spooled = await asyncio.wrap_future(result)
        height, width = image.shape[:2]
        answer = camera_pb2.SubmitFrameResponse(
            frame=frame_pb2.FrameRef(camera=request.camera, epoch=spooled.epoch, sequence=spooled.sequence),
            bytes=spooled.bytes,
            bits_per_pixel=8 * spooled.bytes / (height * width),
        )
        return _Coded(answer, width / spooled.width, height / spooled.height)

    async def _with_detections(
        self, request: camera_pb2.SubmitFrameRequest, coded: _Coded
    ) -> camera_pb2.SubmitFrameResponse:
        """The answer with what the cloud found, if asked and in time, in pixels of the client's picture."""
        answer = coded.answer
        if request.HasField("wait_for_detections"):
            wait = _seconds(request.wait_for_detections)
            until = asyncio.get_running_loop().time() + wait
            try:
                async with asyncio.timeout(wait):
                    await self._cameras[request.camera].uplink.persisted(answer.frame.sequence)
                    found = await self._archive.GetDetections(
                        archive_pb2.GetDetectionsRequest(frame=answer.frame),
                        timeout=until - asyncio.get_running_loop().time(),
                    )
                answer.detections.CopyFrom(found.detections)
                for box in answer.detections.detections:
                    box.left, box.right = box.left * coded.across, box.right * coded.across
                    box.top, box.bottom = box.top * coded.down, box.bottom * coded.down
            except (TimeoutError, UplinkError, SpoolError, grpc.aio.AioRpcError):
                # The picture is safe in the spool; that is what the answer is about.
                pass
        return answer

    def _quality(self, request: camera_pb2.SubmitFrameRequest) -> float | None:
        if not request.HasField("quality"):
            return None
        if not 0 <= request.quality <= self._highest_quality:
            raise ConfigError(
                f"quality {request.quality:g} is out of range: levels go from 0 to {self._highest_quality:g}"
            )
        return request.quality

    def _capture_us(self, frame: frame_pb2.Frame) -> int:
        if not frame.HasField("capture_time"):
            return self._clock.now_us()
        time: Timestamp = frame.capture_time
        if time.seconds < 0 or not 0 <= time.nanos < 1_000_000_000:
            raise ConfigError("capture_time must lie after 1970 and have nanos of 0 to 999999999")
        capture_us = time.seconds * 1_000_000 + time.nanos // 1000
        if capture_us > LATEST_US:
            # The cloud would never take it, and no record behind it.
            raise ConfigError("capture_time must lie before the year 9987: is it in seconds?")
        return capture_us


def _picture(frame: frame_pb2.Frame, max_pixels: int) -> NDArray[np.uint8]:
    match frame.WhichOneof("image"):
        case "encoded":
            return read_image(frame.encoded, max_pixels)
        case "raw":
            return raw_image(frame.raw.width, frame.raw.height, frame.raw.rgb, max_pixels)
        case _:
            raise ImageError("the frame holds no image: set encoded (a JPEG or PNG file) or raw (RGB pixels)")


def _check_wait(request: camera_pb2.SubmitFrameRequest) -> None:
    if not 0 <= _seconds(request.wait_for_detections) <= MOST_WAIT_SECONDS:
        raise ConfigError(f"wait_for_detections must lie between 0 and {MOST_WAIT_SECONDS} s")


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
