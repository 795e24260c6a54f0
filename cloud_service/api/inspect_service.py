"""InspectService: what a stored frame is made of."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloud_service.access.access import ANYBODY, Access
from cloud_service.api.answers import errors_answered, timestamp
from cloud_service.api.archive_service import detections_message
from cloud_service.inspection.inspector import FrameInspector, Inspection
from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.manifest import UNFINETUNED
from icm.frame_id import FrameId
from icm.v1 import inspect_pb2 as pb
from icm.v1.inspect_pb2_grpc import InspectServiceServicer
from icm.v1.proof_pb2 import ChainBlock

_DECODES_AT_ONCE = 1


class InspectService(InspectServiceServicer):
    """See inspect.proto."""

    def __init__(self, inspector: FrameInspector, access: Access = ANYBODY) -> None:
        """Creates the service.

        Args:
            inspector: looks into frames.
            access: who may read which camera.
        """
        self._inspector, self._access = inspector, access
        self._decoding = ThreadPoolExecutor(_DECODES_AT_ONCE, "inspect-frame")

    async def InspectFrame(self, request: pb.InspectFrameRequest, context: Any) -> pb.InspectFrameResponse:
        """See inspect.proto."""
        async with errors_answered(context):
            self._access.caller(context).check_reads(request.frame.camera)
            key = FrameId.from_message(request.frame)
            loop = asyncio.get_running_loop()
            return _answer(await loop.run_in_executor(self._decoding, self._inspector.inspect, key))


def _answer(seen: Inspection) -> pb.InspectFrameResponse:
    header, record, bundle = seen.frame.header, seen.record, seen.frame.bundle
    answer = pb.InspectFrameResponse(
        frame=seen.key.to_message(),
        capture_time=timestamp(record.capture_us),
        coded_as=_coded_as(record),
        reference=record.sequence - record.reference if record.reference else 0,
        quality_sixteenths=record.quality,
        width=header.width,
        height=header.height,
        record_bytes=len(record.pack(header)),
        payload_bytes=len(record.payload),
        digest=record.digest,
        codec=bundle.name,
        codec_id=header.codec_id,
        has_base_decoder=UNFINETUNED in bundle.manifest.files,
        bits=seen.bits.ravel().tolist(),
        columns=seen.bits.shape[1],
        detections=[detections_message(event) for event in seen.events],
        segment=seen.segment.number,
        sealed=seen.segment.sealed,
    )
    if seen.previous is not None:
        answer.previous.CopyFrom(seen.previous.to_message())
    if seen.next is not None:
        answer.next.CopyFrom(seen.next.to_message())
    if seen.block is not None:
        block, head = seen.block.block.line().decode("ascii"), seen.block.head.line().decode("ascii")
        answer.chain.CopyFrom(ChainBlock(block=block, head=head))
    return answer


def _coded_as(record: Record) -> pb.CodedAs.ValueType:
    if record.kind is Kind.I:
        return pb.CODED_AS_INTRA
    return pb.CODED_AS_INTER_WITH_MOTION if record.motion else pb.CODED_AS_INTER
