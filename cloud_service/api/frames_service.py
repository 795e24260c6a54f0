"""FramesService: which frames are stored of a camera."""

from __future__ import annotations

import asyncio
from typing import Any

from cloud_service.access.access import ANYBODY, Access
from cloud_service.api.answers import errors_answered, microseconds, timestamp
from cloud_service.store import Position, RecordStore, Segment
from icm.codec.bitstream.record import Kind, Record
from icm.errors import ConfigError, NotFoundError, RecordError, StorageError
from icm.frame_id import FrameId
from icm.v1 import frames_pb2 as pb
from icm.v1.frames_pb2_grpc import FramesServiceServicer

MOST_FRAMES = 1000
MOST_US = 3_600_000_000
_AT_ONCE = 4096


class FramesService(FramesServiceServicer):
    """See frames.proto."""

    def __init__(self, store: RecordStore, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            store: holds the records.
            access: who may read which camera.
        """
        self._store, self._access = store, access

    async def ListFrames(self, request: pb.ListFramesRequest, context: Any) -> pb.ListFramesResponse:
        """See frames.proto."""
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.camera)
            if request.camera not in self._store.names():
                raise NotFoundError(f"there is no camera {request.camera[:80]!r}; ListCameras names them")
            from_us, to_us = microseconds(request, "from"), microseconds(request, "to")
            if from_us is None or to_us is None or not from_us < to_us <= from_us + MOST_US:
                raise ConfigError("ListFrames: give 'from' and a later 'to', an hour apart at most")
            most = request.most or MOST_FRAMES
            if most > MOST_FRAMES:
                raise ConfigError(f"ListFrames: most is {most}, and {MOST_FRAMES} at most: ask for less time")
            return await asyncio.to_thread(self._list, request.camera, from_us, to_us, most, request.newest)

    def _list(self, camera: str, from_us: int, to_us: int, most: int, newest: bool) -> pb.ListFramesResponse:
        segments = self._store.captured_between(camera, from_us, to_us)
        found: list[pb.StoredFrame] = []
        for segment in reversed(segments) if newest else segments:
            if len(found) > most:
                break
            frames = [
                _frame(segment, record) for record in self._records(segment) if from_us <= record.capture_us < to_us
            ]
            found = [*frames, *found] if newest else [*found, *frames]
        # Segments of two epochs of one camera may overlap.
        found.sort(key=lambda frame: frame.capture_time.ToMicroseconds())
        kept = found[-most:] if newest else found[:most]
        return pb.ListFramesResponse(frames=kept, more=len(found) > most)

    def _records(self, segment: Segment) -> list[Record]:
        """Those that can be read.

        No lease is taken: each segment is read in one go and needs none before it, as nothing is decoded. What is
        deleted meanwhile is not there to be listed any more.
        """
        records: list[Record] = []
        position = Position(segment.number, 0)
        try:
            while (chunk := self._store.read(segment.camera, position, _AT_ONCE)) is not None:
                if chunk.segment.number != segment.number:
                    break
                records += chunk.records
                position = chunk.next
                if chunk.ended:
                    break
        except (NotFoundError, RecordError, StorageError):
            # Who plays or asks for the frames is told why.
            return records
        return records


def _frame(segment: Segment, record: Record) -> pb.StoredFrame:
    return pb.StoredFrame(
        frame=FrameId(segment.camera, segment.epoch, record.sequence).to_message(),
        capture_time=timestamp(record.capture_us),
        bytes=len(record.payload),
        intra=record.kind is Kind.I,
    )
