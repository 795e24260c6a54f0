"""What a stored frame is made of, as clients get it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from icm.client.messages import Detections, time_of
from icm.errors import ConfigError, ProofError, ProtocolError
from icm.frame_id import FrameId
from icm.proof.chain import Head
from icm.v1 import archive_pb2, archive_pb2_grpc, clip_pb2, inspect_pb2, inspect_pb2_grpc

_CODED_AS = {
    inspect_pb2.CODED_AS_INTRA: "intra",
    inspect_pb2.CODED_AS_INTER: "inter",
    inspect_pb2.CODED_AS_INTER_WITH_MOTION: "inter with motion",
}
_DECODERS = {"finetuned": clip_pb2.CLIP_DECODER_FINETUNED, "base": clip_pb2.CLIP_DECODER_BASE}
_FORMATS = {"jpeg": archive_pb2.IMAGE_FORMAT_JPEG, "png": archive_pb2.IMAGE_FORMAT_PNG}
_QUALITY_STEPS = 16


@dataclass(frozen=True)
class FrameInspection:
    """All that a cloud knows of a frame but its picture.

    Attributes:
        frame: which one.
        captured: when it was captured, UTC.
        coded_as: "intra", alone; "inter", as what changed since the frame that it refers to; or "inter with motion".
        reference: that frame; None where it is coded alone.
        quality: its quality level; fractions lie between two.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        record_bytes: size of its record.
        payload_bytes: size of what in it the picture takes.
        digest: CRC32C of its latents, which the cloud checked.
        codec: the codec's name.
        codec_id: that codec's digest, 64 hexadecimal digits.
        has_base_decoder: whether that codec has a decoder from before its finetuning too.
        bits: of the payload, by blocks of 16 x 16 pixels, row after row; what belongs to no block is spread over those
            that changed.
        columns: of that map.
        detections: what each detector that looked at it found, the newest first.
        previous: the stored frame before it, of any epoch; None where it is the first.
        next: the stored frame after it, of any epoch; None where it is the newest.
        segment: number of the segment that holds it.
        sealed: whether that takes no more records.
        chain: the head of the block of the camera's chain that speaks of the segment; None where none does yet.
    """

    frame: FrameId
    captured: datetime
    coded_as: str
    reference: FrameId | None
    quality: float
    width: int
    height: int
    record_bytes: int
    payload_bytes: int
    digest: int
    codec: str
    codec_id: str
    has_base_decoder: bool
    bits: tuple[float, ...]
    columns: int
    detections: tuple[Detections, ...]
    previous: FrameId | None
    next: FrameId | None
    segment: int
    sealed: bool
    chain: Head | None

    @staticmethod
    def of(message: inspect_pb2.InspectFrameResponse) -> FrameInspection:
        """Raises ProtocolError: the message cannot be."""
        if message.coded_as not in _CODED_AS:
            raise ProtocolError(f"the cloud says that a frame is coded as {message.coded_as}, which is nothing")
        frame = FrameId.from_message(message.frame)
        return FrameInspection(
            frame=frame,
            captured=time_of(message.capture_time),
            coded_as=_CODED_AS[message.coded_as],
            reference=frame._replace(sequence=message.reference) if message.reference else None,
            quality=message.quality_sixteenths / _QUALITY_STEPS,
            width=message.width,
            height=message.height,
            record_bytes=message.record_bytes,
            payload_bytes=message.payload_bytes,
            digest=message.digest,
            codec=message.codec,
            codec_id=message.codec_id.hex(),
            has_base_decoder=message.has_base_decoder,
            bits=tuple(message.bits),
            columns=message.columns,
            detections=tuple(Detections.of(found) for found in message.detections),
            previous=FrameId.from_message(message.previous) if message.HasField("previous") else None,
            next=FrameId.from_message(message.next) if message.HasField("next") else None,
            segment=message.segment,
            sealed=message.sealed,
            chain=_head(message.chain.head) if message.HasField("chain") else None,
        )


class InspectionCalls(ABC):
    """What ``CloudClient`` does about what frames are made of."""

    _channel: Any

    @abstractmethod
    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    def inspect(self, frame: FrameId) -> FrameInspection:
        """All that the cloud knows of one frame but its picture.

        Raises:
            NotFoundError: there is no such frame.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        stub = inspect_pb2_grpc.InspectServiceStub(self._channel)
        return FrameInspection.of(self._ask(stub.InspectFrame, _inspect_request(frame)))

    def picture(self, frame: FrameId, format: str = "jpeg", *, decoder: str = "finetuned") -> bytes:
        """One frame as a file, decoded from its record.

        Args:
            frame: which one.
            format: "jpeg", or "png" for the decoder's very pixels.
            decoder: what turns the record into a picture: "finetuned", or "base" for that from before its finetuning.

        Raises:
            ConfigError: there is no such format or decoder.
            BundleError: the codec has no such decoder.
            NotFoundError: there is no such frame.
            UnreachableError: as of ``CloudClient.cameras``.
            UnauthenticatedError: as of ``CloudClient.cameras``.
            PermissionDeniedError: as of ``CloudClient.cameras``.
        """
        stub = archive_pb2_grpc.ArchiveServiceStub(self._channel)
        return bytes(self._ask(stub.GetFrame, _picture_request(frame, format, decoder)).image)


class AsyncInspectionCalls(ABC):
    """What ``AsyncCloudClient`` does about what frames are made of."""

    _channel: Any

    @abstractmethod
    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Calls what may reach the cloud twice."""

    async def inspect(self, frame: FrameId) -> FrameInspection:
        """As ``CloudClient.inspect``."""
        stub: Any = inspect_pb2_grpc.InspectServiceStub(self._channel)
        return FrameInspection.of(await self._ask(stub.InspectFrame, _inspect_request(frame)))

    async def picture(self, frame: FrameId, format: str = "jpeg", *, decoder: str = "finetuned") -> bytes:
        """As ``CloudClient.picture``."""
        stub: Any = archive_pb2_grpc.ArchiveServiceStub(self._channel)
        return bytes((await self._ask(stub.GetFrame, _picture_request(frame, format, decoder))).image)


def _inspect_request(frame: FrameId) -> inspect_pb2.InspectFrameRequest:
    return inspect_pb2.InspectFrameRequest(frame=frame.to_message())


def _picture_request(frame: FrameId, format: str, decoder: str) -> archive_pb2.GetFrameRequest:
    for name, value, known in (("format", format, _FORMATS), ("decoder", decoder, _DECODERS)):
        if value not in known:
            raise ConfigError(f"there is no {name} {value!r}: say {' or '.join(map(repr, known))}")
    return archive_pb2.GetFrameRequest(frame=frame.to_message(), format=_FORMATS[format], decoder=_DECODERS[decoder])


def _head(line: str) -> Head:
    try:
        return Head.of(line.encode())
    except ProofError as error:
        raise ProtocolError(f"the cloud tells of a chain what cannot be: {error}") from None
