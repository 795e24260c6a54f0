"""Records to pictures, batched over cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_service.record_store import Chunk
from shared.codec.bundle import Bundle
from shared.codec.codec import Decoder
from shared.codec.latents import Latents
from shared.codec.record import StreamHeader
from shared.errors import CodecMismatchError, IcmError

Picture = NDArray[np.uint8]


class LaneId(NamedTuple):
    """One reader of a camera's log; see ``pipeline``."""

    camera: str
    purpose: str


class BatchDecoder:
    """One ``Decoder`` per lane, one pass through the synthesis for all. Not thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises ConfigError: the bundle's device is not there."""
        self._bundle = bundle
        # Networks load when first asked for; a start must find what is wrong, not the first frame.
        _ = bundle.synthesis
        self._decoders: dict[LaneId, tuple[StreamHeader, Decoder]] = {}

    def decode(self, chunks: Sequence[tuple[LaneId, Chunk]]) -> list[list[Picture | IcmError]]:
        """For each chunk, its records' pictures, uint8[H, W, 3] RGB, or what kept one from being decoded."""
        latents: list[list[Latents | IcmError]] = [self._latents(lane, chunk) for lane, chunk in chunks]
        good = [item for items in latents for item in items if not isinstance(item, IcmError)]
        # Which Decoder turns latents into pictures does not matter: the synthesis remembers nothing.
        pictures = iter(Decoder(self._bundle).pictures(good))
        return [[item if isinstance(item, IcmError) else next(pictures) for item in items] for items in latents]

    def _latents(self, lane: LaneId, chunk: Chunk) -> list[Latents | IcmError]:
        header = chunk.header
        if header.codec_id != self._bundle.codec_id:
            mismatch = CodecMismatchError(
                f"segment {chunk.segment.path} was coded with codec {header.codec_id.hex()[:12]}, the bundle here"
                f" is {self._bundle.name} with {self._bundle.codec_id.hex()[:12]}"
            )
            return [mismatch for _ in chunk.records]
        decoder = self._decoder(lane, header)
        result: list[Latents | IcmError] = []
        for record in chunk.records:
            try:
                result.append(decoder.latents(record, header.width, header.height))
            except IcmError as error:
                result.append(error)
        return result

    def _decoder(self, lane: LaneId, header: StreamHeader) -> Decoder:
        known = self._decoders.get(lane)
        if known is None or (known[0].epoch, known[0].width, known[0].height) != (
            header.epoch,
            header.width,
            header.height,
        ):
            self._decoders[lane] = header, Decoder(self._bundle)
        return self._decoders[lane][1]
