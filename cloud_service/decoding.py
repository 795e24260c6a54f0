"""Records to pictures, each camera's one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_service.record_store import Chunk, SegmentKeys
from shared.codec.bundle import Bundle
from shared.codec.codec import Decoder, recode_alone
from shared.codec.latents import Latents
from shared.codec.record import Kind, Record, StreamHeader
from shared.errors import CodecMismatchError, IcmError, RecordError, StorageError

log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]


class LaneId(NamedTuple):
    """One reader of a camera's log; see ``pipeline``."""

    camera: str
    purpose: str


class BatchDecoder:
    """One ``Decoder`` per lane. Not thread-safe."""

    def __init__(self, bundle: Bundle, keys: SegmentKeys) -> None:
        """Args: keys, read where a lane begins with a segment that leans on the one before, and made where they lack.

        Raises:
            ConfigError: the bundle's device is not there.
        """
        self._bundle, self._keys = bundle, keys
        # Networks load when first asked for; a start must find what is wrong, not the first frame.
        _ = bundle.synthesis
        self._decoders: dict[LaneId, tuple[StreamHeader, Decoder]] = {}

    def decode(self, chunks: Sequence[tuple[LaneId, Chunk]]) -> list[list[Picture | IcmError]]:
        """For each chunk, its records' pictures, uint8[H, W, 3] RGB, or what kept one from being decoded."""
        return [
            [item if isinstance(item, IcmError) else self._decoders[lane][1].picture(item) for item in items]
            for (lane, _), items in ((pair, self._latents(*pair)) for pair in chunks)
        ]

    def _latents(self, lane: LaneId, chunk: Chunk) -> list[Latents | IcmError]:
        header = chunk.header
        if header.codec_id not in self._bundle.decodes:
            mismatch = CodecMismatchError(
                f"segment {chunk.segment.path} was coded with codec {header.codec_id.hex()[:12]}, the bundle here"
                f" is {self._bundle.name} with {self._bundle.codec_id.hex()[:12]}"
            )
            return [mismatch for _ in chunk.records]
        decoder = self._decoder(lane, header)
        result: list[Latents | IcmError] = []
        for index, record in enumerate(chunk.records):
            try:
                if chunk.starts and index == 0 and record.kind is Kind.P:
                    result.append(self._first(chunk, record, decoder))
                else:
                    result.append(decoder.latents(record, header.width, header.height))
            except IcmError as error:
                result.append(error)
        return result

    def _first(self, chunk: Chunk, record: Record, decoder: Decoder) -> Latents:
        """The latents of a segment's first record, a P record: by its key, or after the record before it."""
        header = chunk.header
        key = self._keys.read(chunk.segment, record)
        if key is not None:
            try:
                return decoder.latents(key, header.width, header.height)
            except RecordError as error:
                log.warning("the key of segment %s cannot be used: %s", chunk.segment.path, error)
        latents = decoder.latents(record, header.width, header.height)
        key = recode_alone(self._bundle, latents).record(record.sequence, record.capture_us)
        try:
            self._keys.write(chunk.segment, header, key)
        except StorageError as error:
            # The next reader that comes by from an earlier segment makes it.
            log.warning("segment %s gets no key: %s", chunk.segment.path, error)
        return latents

    def _decoder(self, lane: LaneId, header: StreamHeader) -> Decoder:
        known = self._decoders.get(lane)
        if known is None or (known[0].epoch, known[0].width, known[0].height) != (
            header.epoch,
            header.width,
            header.height,
        ):
            self._decoders[lane] = header, Decoder(self._bundle)
        return self._decoders[lane][1]
