"""ArchiveService: what is stored and what was seen, for other programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import Any

from PIL import Image

from cloud_service.access.access import ANYBODY, Access
from cloud_service.api.answers import decoder_of, duration, errors_answered, microseconds, timestamp
from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.writer import VideoSegment
from cloud_service.clips.request import ClipDecoder
from cloud_service.events.feed import EventFeed
from cloud_service.events.store import EventStore, FrameEvent, FrameSkipped
from cloud_service.inspection.stored_frames import StoredFrame, StoredFrames
from cloud_service.store import RecordStore
from icm.errors import (
    FrameDeletedError,
    FrameSkippedError,
    NotFoundError,
)
from icm.frame_id import FrameId
from icm.v1 import archive_pb2 as pb
from icm.v1.archive_pb2_grpc import ArchiveServiceServicer
from icm.v1.frame_pb2 import Detection, FrameDetections

_JPEG_QUALITIES = (90, 80, 65, 50, 35, 20, 10)
"""The first with which a picture fits into an answer is taken."""
MOST_ANSWER_BYTES = (4 << 20) - 1024
"""Of a picture as JPEG, below the 4 MiB that a client takes by default. A PNG is as large as it is."""
_DECODES_AT_ONCE = 2
MOST_SEGMENTS = 10_000
"""In one answer of ListSegments: about 1.5 MB, below the 4 MiB that a client takes by default."""
_WAIT_SECONDS = 60.0
"""How long GetDetections waits for a caller that set no deadline."""


class ArchiveService(ArchiveServiceServicer):
    """See archive.proto."""

    def __init__(
        self,
        frames: StoredFrames,
        store: RecordStore,
        catalogue: VideoCatalogue,
        events: EventStore,
        feed: EventFeed,
        detects: bool,
        access: Access = ANYBODY,
    ) -> None:
        """Creates the service.

        Args:
            detects: whether there is a detector.
            access: who may read which camera.
        """
        self._detects = detects
        self._frames = frames
        self._store = store
        self._catalogue = catalogue
        self._events = events
        self._feed = feed
        self._access = access
        self._decoding = ThreadPoolExecutor(_DECODES_AT_ONCE, "get-frame")

    async def ListCameras(self, request: pb.ListCamerasRequest, context: Any) -> pb.ListCamerasResponse:
        """See archive.proto. A caller that may not read a camera does not see it here."""
        caller = self._access.caller(context)
        return pb.ListCamerasResponse(
            cameras=[
                pb.Camera(
                    name=camera.camera,
                    records=camera.records,
                    bytes=camera.bytes,
                    first_capture=timestamp(camera.first_capture_us),
                    last_capture=timestamp(camera.last_capture_us),
                )
                for camera in self._store.cameras()
                if caller.reads(camera.camera)
            ]
        )

    async def ListSegments(self, request: pb.ListSegmentsRequest, context: Any) -> pb.ListSegmentsResponse:
        """See archive.proto."""
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.camera)
            from_us, to_us = microseconds(request, "from"), microseconds(request, "to")
            if request.camera not in self._store.names():
                raise NotFoundError(f"there is no camera {request.camera[:80]!r}; ListCameras names them")
            videos = await asyncio.to_thread(self._catalogue.list, request.camera, from_us, to_us, MOST_SEGMENTS + 1)
        segments = [_segment(video) for video in videos[:MOST_SEGMENTS]]
        return pb.ListSegmentsResponse(segments=segments, more=len(videos) > MOST_SEGMENTS)

    async def GetFrame(self, request: pb.GetFrameRequest, context: Any) -> pb.GetFrameResponse:
        """See archive.proto."""
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.frame.camera)
            key, decoder = FrameId.from_message(request.frame), decoder_of(request)
            # Threads of its own: a caller that goes away leaves its picture's decoding behind, and that must neither
            # make room for one more nor take a thread from anything else.
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoding, self._frame, key, request.format, decoder)

    async def GetDetections(self, request: pb.GetDetectionsRequest, context: Any) -> pb.GetDetectionsResponse:
        """See archive.proto."""
        # A caller's own deadline ends the call by itself.
        patience = _WAIT_SECONDS if context.time_remaining() is None else None
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.frame.camera)
            key = FrameId.from_message(request.frame)
            with self._feed.subscribe(lambda event: event.key == key) as subscription:
                # Subscribed first, so that an event made between the two is not missed.
                event = await asyncio.to_thread(self._events.get, key)
                if event is None:
                    absent = await asyncio.to_thread(self._store.absent, key.camera, key.epoch, key.sequence)
                    if isinstance(absent, FrameDeletedError):
                        raise absent
                    await asyncio.to_thread(self._events.check_not_forgotten, key)
                if event is None and not self._detects:
                    raise NotFoundError("this cloud looks for nothing in its frames: its setting detector.kind is none")
                if event is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(patience):
                            event = await subscription.next()
            if event is None:
                raise NotFoundError(f"no detector has looked at frame {key.sequence} of {key.camera!r} yet")
            if isinstance(event, FrameSkipped):
                raise FrameSkippedError(f"frame {key.sequence} of {key.camera!r} was skipped: {event.why}")
        return pb.GetDetectionsResponse(detections=detections_message(event))

    async def WatchDetections(
        self, request: pb.WatchDetectionsRequest, context: Any
    ) -> AsyncIterator[pb.WatchDetectionsResponse]:
        """See archive.proto. A watcher that lags too far behind is ended with RESOURCE_EXHAUSTED, never sent gaps."""
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.camera)
            with self._feed.subscribe(
                lambda item: isinstance(item, FrameEvent) and request.camera in ("", item.key.camera)
            ) as subscription:
                # The headers are the caller's sign that the subscription has begun.
                await context.send_initial_metadata(())
                while isinstance(event := await subscription.next(), FrameEvent):
                    yield pb.WatchDetectionsResponse(detections=detections_message(event))

    def _frame(self, key: FrameId, image_format: int, decoder: ClipDecoder) -> pb.GetFrameResponse:
        frame, still = self._decoded(key)
        picture = Image.fromarray(frame.picture(decoder))
        image = _png(picture) if image_format == pb.IMAGE_FORMAT_PNG else _jpeg(picture)
        return pb.GetFrameResponse(image=image, capture_time=timestamp(frame.record.capture_us), still=still)

    def _decoded(self, key: FrameId) -> tuple[StoredFrame, bool]:
        """A frame, and whether it is a still that is left of a deleted segment."""
        try:
            return self._frames.decode(key), False
        except FrameDeletedError as error:
            if (still := self._frames.still(key)) is not None:
                return still, True
            left = self._store.stills.of_segment(*key)
            if left is None:
                raise
            raise FrameDeletedError(f"{error}; frame {left} of the same segment is left as a still") from None


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg(picture: Image.Image) -> bytes:
    """Of the best quality that fits into an answer."""
    for quality in _JPEG_QUALITIES:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MOST_ANSWER_BYTES:
            break
    return buffer.getvalue()


def detections_message(event: FrameEvent) -> FrameDetections:
    """An event as the contracts put it."""
    return FrameDetections(
        frame=event.key.to_message(),
        capture_time=timestamp(event.capture_us),
        model=event.model,
        detections=[
            Detection(
                class_name=found.class_name,
                score=found.score,
                left=found.left,
                top=found.top,
                right=found.right,
                bottom=found.bottom,
            )
            for found in event.detections
        ],
    )


def _segment(video: VideoSegment) -> pb.Segment:
    return pb.Segment(
        start=timestamp(video.start_us),
        duration=duration(video.duration_us),
        frames=video.frames,
        bytes=video.bytes,
        path=video.path,
        thumbnail_path=video.thumbnail_path,
    )
