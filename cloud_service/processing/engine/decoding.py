"""Records to latents and pictures, each camera's one after the other."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_service.bundles import Bundles
from cloud_service.processing.engine.base import LaneId, Work
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import recode_intra
from icm.codec.latents.latents import Latents
from icm.errors import IcmError, RecordError

log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]


StreamKey = tuple[bytes, int, int, int]
"""Codec id, epoch, width and height: latents of one stream can be compared."""


class Decoded(NamedTuple):
    """What one piece of work gave.

    Attributes:
        frames: its records' latents, or what kept one from being decoded.
        keyframe: the first record as an I record, where it had to be made.
    """

    frames: list[Latents | IcmError]
    keyframe: Record | None


@dataclass
class _Stream:
    """A lane's decoder, the picture that it made last, and the one that people were last shown, after its source."""

    key: StreamKey
    decoder: Decoder
    made: tuple[Latents, Picture] | None = None
    shown: tuple[Picture, int, Picture] | None = None


class BatchDecoder:
    """One ``Decoder`` per lane. Not thread-safe, but for ``check``."""

    def __init__(self, bundles: Bundles) -> None:
        """Loads the bundles' decoders.

        Raises:
            ConfigError: the bundles' device is not there.
        """
        self._bundles = bundles
        bundles.load_decoders()
        self._streams: dict[LaneId, _Stream] = {}

    def check(self, codec_id: bytes, what: str) -> None:
        """Checks that a bundle here decodes such records.

        Raises:
            CodecMismatchError: none does; another start may have the right one.
        """
        self._bundles.of(codec_id, what)

    def decode(self, work: Work) -> Decoded:
        """The latents of a piece of work, which ``check`` let pass."""
        frames, keyframe = self._latents(work)
        return Decoded(frames, keyframe)

    def picture(self, work: Work, latents: Latents) -> Picture:
        """The picture of a frame of the work that was decoded last of its lane, uint8[H, W, 3] RGB, not to be written.

        It is without grain: ``for_people`` and ``for_detector`` lay that over it. Of one as the last that was asked for
        it is the same object.
        """
        stream = self._stream(work)
        if stream.made is None or not latents.looks_like(stream.made[0]):
            stream.made = latents, stream.decoder.synthesised(latents)
        return stream.made[1]

    def for_people(self, work: Work, picture: Picture, quality: int) -> Picture:
        """A picture of the work at this quality as it is archived and shown; of the same one twice the same object."""
        stream = self._stream(work)
        if stream.shown is None or stream.shown[0] is not picture or stream.shown[1] != quality:
            stream.shown = picture, quality, self._bundle(work).grain.over(picture, quality)
        return stream.shown[2]

    def for_detector(self, work: Work, picture: Picture, record: Record) -> Picture:
        """A record's picture as a detector sees it."""
        return self._bundle(work).detector_grain(record.kind).over(picture, record.quality)

    def steps(self, work: Work, quality: int) -> NDArray[np.float32]:
        """The quantisation steps of a quality's latents, in grey levels: float32[M].

        Told by how long a latent of 1 is in the picture that encoders search, which is near to a picture's distances
        whatever the learned branches make of its latents; without motion there is none, and the analysis keeps
        distances nearly.
        """
        bundle = self._bundle(work)
        steps = 1 / bundle.gains(quality)
        return steps if bundle.motion is None else steps * bundle.motion.search.lengths

    def _latents(self, work: Work) -> tuple[list[Latents | IcmError], Record | None]:
        """The latents of each record, or what kept it from being decoded, and the keyframe that was made, if any."""
        header, decoder = work.header, self._stream(work).decoder
        result: list[Latents | IcmError] = []
        made = None
        for index, record in enumerate(work.records):
            try:
                if work.starts and index == 0 and record.kind is Kind.P:
                    latents, made = self._first(work, record, decoder)
                else:
                    latents = decoder.latents(record, header.width, header.height)
                result.append(latents)
            except IcmError as error:
                result.append(error)
        return result, made

    def _first(self, work: Work, record: Record, decoder: Decoder) -> tuple[Latents, Record | None]:
        """The latents of a segment's first record, a P record: by its keyframe, or after the record before it."""
        header = work.header
        if work.keyframe is not None:
            try:
                return decoder.latents(work.keyframe, header.width, header.height), None
            except RecordError as error:
                log.warning(
                    "the keyframe of segment %d of camera %s cannot be used: %s", work.segment, work.lane.camera, error
                )
        latents = decoder.latents(record, header.width, header.height)
        return latents, keyframe_of(self._bundle(work), record, latents)

    def _stream(self, work: Work) -> _Stream:
        key = stream_key(work.header)
        known = self._streams.get(work.lane)
        if known is None or known.key != key:
            known = self._streams[work.lane] = _Stream(key, Decoder(self._bundle(work)))
        return known

    def _bundle(self, work: Work) -> Bundle:
        return self._bundles.of(work.header.codec_id, f"segment {work.segment} of camera {work.lane.camera}")


def stream_key(header: StreamHeader) -> StreamKey:
    return header.codec_id, header.epoch, header.width, header.height


def keyframe_of(bundle: Bundle, record: Record, latents: Latents) -> Record:
    """A record that was decoded to these latents as an I record of the same frame."""
    coded = recode_intra(bundle, latents).record(record.sequence, record.capture_us)
    # The digest was checked against these very latents; the record may be of an earlier version of the format.
    return replace(coded, digest=record.digest, version=record.version)
