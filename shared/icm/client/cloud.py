"""Clients of a cloud's archive: what is stored, and what was found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc

from icm.client.clips import AsyncClipCalls, ClipCalls
from icm.client.connection import AsyncClosing, Closing, Connection, Tls
from icm.client.export import Progress, download_to, export_case, export_case_async, export_request
from icm.client.frames import AsyncFrameCalls, FrameCalls
from icm.client.holds import AsyncHoldCalls, HoldCalls
from icm.client.inspection import AsyncInspectionCalls, InspectionCalls
from icm.client.keeping.redetections import AsyncRedetectionCalls, RedetectionCalls
from icm.client.keeping.storage import AsyncStorageCalls, StorageCalls
from icm.client.keeping.verifications import AsyncVerificationCalls, VerificationCalls
from icm.client.live import AsyncLiveCalls, LiveCalls
from icm.client.messages import Camera, Detections, Frame, Segment, time_of, utc
from icm.client.proof import AsyncProofCalls, ProofCalls
from icm.client.search import AsyncSearchCalls, SearchCalls
from icm.errors import ProtocolError
from icm.frame_id import FrameId
from icm.rpc.status import error_of
from icm.v1 import (
    archive_pb2,
    archive_pb2_grpc,
    clip_pb2_grpc,
    hold_pb2_grpc,
    proof_pb2_grpc,
    search_pb2_grpc,
)


class CloudClient(
    ClipCalls,
    FrameCalls,
    HoldCalls,
    InspectionCalls,
    LiveCalls,
    ProofCalls,
    RedetectionCalls,
    SearchCalls,
    StorageCalls,
    VerificationCalls,
    Closing,
):
    """Reads a cloud's archive, for programs without an event loop. Threads may share one.

    A call waits for the connection, comes again after a broken one and while the cloud is busy, until its time is over.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:7443",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        allow_plaintext: bool = False,
    ) -> None:
        """Connects with the first call.

        Args:
            address: ``host:port`` of the cloud.
            tls: whom to believe, and the client's own certificate; None to speak plaintext.
            token: what the cloud, or what stands before it, knows the client by; None if it asks for none.
            timeout: seconds that a call may take.
            allow_plaintext: whether plaintext may leave this machine.

        Raises:
            ConfigError: one of them cannot be.
        """
        self._connection = Connection(address, tls=tls, token=token, timeout=timeout, allow_plaintext=allow_plaintext)
        self._channel = self._connection.channel()
        self._stub = archive_pb2_grpc.ArchiveServiceStub(self._channel)
        self._clips = clip_pb2_grpc.ClipServiceStub(self._channel)
        self._holds = hold_pb2_grpc.HoldServiceStub(self._channel)
        self._searches = search_pb2_grpc.SearchServiceStub(self._channel)
        self._proof = proof_pb2_grpc.ProofServiceStub(self._channel)

    def cameras(self) -> list[Camera]:
        """The cameras that ever sent a record, by name.

        Raises:
            UnreachableError: the cloud cannot be reached, or did not answer in time.
            UnauthenticatedError: it does not let this client.
            PermissionDeniedError: it does not let this client.
        """
        answer = self._ask(self._stub.ListCameras, archive_pb2.ListCamerasRequest())
        return [Camera.of(camera) for camera in answer.cameras]

    def segments(self, camera: str, start: datetime | None = None, end: datetime | None = None) -> Iterator[Segment]:
        """A camera's playable segments, oldest first, asked for in pages while they are taken.

        Args:
            camera: its name.
            start: leave out segments that end before this, with its time zone; None for the oldest on.
            end: leave out segments that start at or after this; None for up to the newest.

        Raises:
            ConfigError: a time has no time zone.
            UnreachableError: as of ``cameras``.
            UnauthenticatedError: as of ``cameras``.
            PermissionDeniedError: as of ``cameras``.
        """
        pages = _Pages(camera, start, end)
        while (request := pages.next()) is not None:
            yield from pages.take(self._ask(self._stub.ListSegments, request))

    def frame(self, frame: FrameId) -> Frame:
        """One frame as a picture, decoded from its record.

        Raises:
            NotFoundError: there is no such frame.
            UnreachableError: as of ``cameras``.
            UnauthenticatedError: as of ``cameras``.
            PermissionDeniedError: as of ``cameras``.
        """
        return _picture(self._ask(self._stub.GetFrame, _frame_request(frame)))

    def watch(self, camera: str = "") -> Generator[Detections, None, None]:
        """Detections as they are made, from now on, without end; a broken connection is made anew.

        What is detected while there is no connection is not told later: ``GetDetections`` of the contract has it.

        Args:
            camera: only this one's; empty for every camera's.

        Raises:
            BusyError: this program takes them too slowly, and would have missed some.
            UnreachableError: the cloud could not be reached for as long as a call may take.
            UnauthenticatedError: as of ``cameras``.
            PermissionDeniedError: as of ``cameras``.
        """
        attempts = self._connection.attempts(sent_twice=True)
        while True:
            call = self._stub.WatchDetections(
                archive_pb2.WatchDetectionsRequest(camera=camera), metadata=self._connection.metadata
            )
            try:
                # The cloud sends these once the subscription stands; without a connection the call is over by then.
                call.initial_metadata()
                if call.is_active():
                    attempts.renew()
                for answer in call:
                    attempts.renew()
                    yield Detections.of(answer.detections)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    # Whoever is too slow has missed something, and is told so.
                    raise error_of(error, self._connection.address) from None
                time.sleep(attempts.wait_after(error))
            finally:
                call.cancel()

    def export(
        self,
        output: Path | str,
        cameras: str | Sequence[str],
        start: datetime,
        end: datetime,
        *,
        case: str,
        by: str,
        progress: Progress | None = None,
    ) -> int:
        """Writes an evidence file: what is stored of cameras in a range of time.

        docs/evidence-files.md says what is in it. It may take as long as it has to. The file is there when all of it
        came, and else it is not.

        Args:
            output: the file to write, such as "case.zip".
            cameras: a camera's name, or several.
            start: of the range, with its time zone.
            end: of the range, which is not in it any more.
            case: what it is about.
            by: who exports it.
            progress: told how far it is.

        Returns:
            The file's size in bytes.

        Raises:
            ConfigError: the request cannot be, or the range holds too much for one export.
            NotFoundError: nothing is stored of the range.
            BusyError: the cloud makes as many exports as it makes at once.
            UnreachableError: the cloud cannot be reached, or went away meanwhile.
            UnauthenticatedError: as of ``cameras``.
            PermissionDeniedError: as of ``cameras``.
        """
        request = export_request(cameras, start, end, case, by)
        with download_to(output, progress) as download:
            return export_case(self._channel, self._connection, request, download)

    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        attempts = self._connection.attempts(sent_twice=True)
        while True:
            try:
                return method(
                    request, timeout=attempts.remaining, metadata=self._connection.metadata, wait_for_ready=True
                )
            except grpc.RpcError as error:
                time.sleep(attempts.wait_after(error))


class AsyncCloudClient(
    AsyncClipCalls,
    AsyncFrameCalls,
    AsyncHoldCalls,
    AsyncInspectionCalls,
    AsyncLiveCalls,
    AsyncProofCalls,
    AsyncRedetectionCalls,
    AsyncSearchCalls,
    AsyncStorageCalls,
    AsyncVerificationCalls,
    AsyncClosing,
):
    """As ``CloudClient``, for programs of asyncio. Use it within one event loop."""

    def __init__(
        self,
        address: str = "127.0.0.1:7443",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        allow_plaintext: bool = False,
    ) -> None:
        """As of ``CloudClient``."""
        self._connection = Connection(address, tls=tls, token=token, timeout=timeout, allow_plaintext=allow_plaintext)
        self._channel = self._connection.aio_channel()
        self._stub: Any = archive_pb2_grpc.ArchiveServiceStub(self._channel)
        self._clips: Any = clip_pb2_grpc.ClipServiceStub(self._channel)
        self._holds: Any = hold_pb2_grpc.HoldServiceStub(self._channel)
        self._searches: Any = search_pb2_grpc.SearchServiceStub(self._channel)
        self._proof: Any = proof_pb2_grpc.ProofServiceStub(self._channel)

    async def cameras(self) -> list[Camera]:
        """As ``CloudClient.cameras``."""
        answer = await self._ask(self._stub.ListCameras, archive_pb2.ListCamerasRequest())
        return [Camera.of(camera) for camera in answer.cameras]

    async def segments(
        self, camera: str, start: datetime | None = None, end: datetime | None = None
    ) -> AsyncIterator[Segment]:
        """As ``CloudClient.segments``."""
        pages = _Pages(camera, start, end)
        while (request := pages.next()) is not None:
            for segment in pages.take(await self._ask(self._stub.ListSegments, request)):
                yield segment

    async def frame(self, frame: FrameId) -> Frame:
        """As ``CloudClient.frame``."""
        answer = await self._ask(self._stub.GetFrame, _frame_request(frame))
        return await asyncio.to_thread(_picture, answer)

    async def watch(self, camera: str = "") -> AsyncGenerator[Detections, None]:
        """As ``CloudClient.watch``."""
        attempts = self._connection.attempts(sent_twice=True)
        while True:
            call = self._stub.WatchDetections(
                archive_pb2.WatchDetectionsRequest(camera=camera), metadata=self._connection.metadata
            )
            try:
                await call.initial_metadata()
                if not call.done():
                    attempts.renew()
                async for answer in call:
                    attempts.renew()
                    yield Detections.of(answer.detections)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise error_of(error, self._connection.address) from None
                await asyncio.sleep(attempts.wait_after(error))
            finally:
                call.cancel()

    async def export(
        self,
        output: Path | str,
        cameras: str | Sequence[str],
        start: datetime,
        end: datetime,
        *,
        case: str,
        by: str,
        progress: Progress | None = None,
    ) -> int:
        """As ``CloudClient.export``."""
        request = export_request(cameras, start, end, case, by)
        with download_to(output, progress) as download:
            return await export_case_async(self._channel, self._connection, request, download)

    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        attempts = self._connection.attempts(sent_twice=True)
        while True:
            try:
                return await method(
                    request, timeout=attempts.remaining, metadata=self._connection.metadata, wait_for_ready=True
                )
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.wait_after(error))


class _Pages:
    """The requests for all of a camera's segments, a page each."""

    def __init__(self, camera: str, start: datetime | None, end: datetime | None) -> None:
        self._request: archive_pb2.ListSegmentsRequest | None = archive_pb2.ListSegmentsRequest(camera=camera)
        if start is not None:
            getattr(self._request, "from").FromDatetime(utc(start))
        if end is not None:
            self._request.to.FromDatetime(utc(end))
        self._seen: set[str] = set()

    def next(self) -> archive_pb2.ListSegmentsRequest | None:
        return self._request

    def take(self, answer: archive_pb2.ListSegmentsResponse) -> list[Segment]:
        page = [Segment.of(segment) for segment in answer.segments]
        news = [segment for segment in page if segment.path not in self._seen]
        # The next page starts at the end of this one, and names again what reaches over it.
        self._seen = {segment.path for segment in page}
        if not answer.more:
            self._request = None
        elif not news:
            raise ProtocolError("the cloud says that there are more segments, and names the same ones again")
        elif self._request is not None:
            getattr(self._request, "from").FromDatetime(page[-1].end)
        return news


def _frame_request(frame: FrameId) -> archive_pb2.GetFrameRequest:
    return archive_pb2.GetFrameRequest(frame=frame.to_message(), format=archive_pb2.IMAGE_FORMAT_PNG)


def _picture(answer: archive_pb2.GetFrameResponse) -> Frame:
    import numpy as np  # a client that only watches needs neither
    from PIL import Image

    with Image.open(BytesIO(answer.image), formats=["PNG"]) as picture:
        return Frame(np.array(picture.convert("RGB")), time_of(answer.capture_time), answer.still)
