"""Records to pictures, each camera's one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_service.bundles import Bundles
from cloud_service.store import Chunk, Segment, SegmentKeys
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.coding import Decoder, recode_alone
from icm.codec.latents.latents import Latents
from icm.errors import IcmError, RecordError, StorageError

log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]


class LaneId(NamedTuple):
    """One reader of a camera's log; see ``pipeline``."""

    camera: str
    purpose: str


class BatchDecoder:
    """One ``Decoder`` per lane. Not thread-safe."""

    def __init__(self, bundles: Bundles, keys: SegmentKeys) -> None:
        """Args: keys, read where a lane begins with a segment that leans on the one before, and made where they lack.

        Raises:
            ConfigError: the bundles' device is not there.
        """
        self._bundles, self._keys = bundles, keys
        bundles.load_decoders()
        self._decoders: dict[LaneId, tuple[tuple[bytes, int, int, int], Decoder]] = {}

    def check(self, chunk: Chunk) -> None:
        """Raises CodecMismatchError: no bundle here decodes the records; another start may have the right one."""
        self._bundles.of(chunk.header.codec_id, f"segment {chunk.segment.path}")

    def decode(self, chunks: Sequence[tuple[LaneId, Chunk]]) -> list[list[Picture | IcmError]]:
        """For each chunk, which ``check`` let pass, its records' pictures, uint8[H, W, 3] RGB, or what kept one from
        being decoded.
        """
        return [
            [item if isinstance(item, IcmError) else self._decoders[lane][1].picture(item) for item in items]
            for (lane, _), items in ((pair, self._latents(*pair)) for pair in chunks)
        ]

    def _latents(self, lane: LaneId, chunk: Chunk) -> list[Latents | IcmError]:
        header = chunk.header
        decoder = self._decoder(lane, chunk)
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
        make_key(self._keys, self._bundle(chunk), chunk.segment, header, record, latents)
        return latents

    def _decoder(self, lane: LaneId, chunk: Chunk) -> Decoder:
        stream = chunk.header.codec_id, chunk.header.epoch, chunk.header.width, chunk.header.height
        known = self._decoders.get(lane)
        if known is None or known[0] != stream:
            self._decoders[lane] = stream, Decoder(self._bundle(chunk))
        return self._decoders[lane][1]

    def _bundle(self, chunk: Chunk) -> Bundle:
        return self._bundles.of(chunk.header.codec_id, f"segment {chunk.segment.path}")


def make_key(
    keys: SegmentKeys, bundle: Bundle, segment: Segment, header: StreamHeader, record: Record, latents: Latents
) -> None:
    """Makes the key of a segment whose first record was decoded to these latents. Where the disk refuses, the next
    reader that comes by from an earlier segment makes it.
    """
    coded = recode_alone(bundle, latents).record(record.sequence, record.capture_us)
    # The digest was checked against these very latents; the segment may be of an earlier version of the format.
    key = replace(coded, digest=record.digest, version=record.version)
    try:
        keys.write(segment, header, key)
    except StorageError as error:
        log.warning("segment %s gets no key: %s", segment.path, error)
