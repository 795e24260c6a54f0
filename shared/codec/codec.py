"""Pictures to coded frames and back. One Encoder and one Decoder per camera; the bundle is shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from shared.codec.bundle import Bundle
from shared.codec.latents import QUALITY_STEPS, Latents
from shared.codec.record import Kind, Record, check_size
from shared.errors import ConfigError, ImageError, RecordError, ReferenceMissingError

PIXELS_AT_ONCE = 1 << 22
"""Of all pictures in one call of the synthesis, which takes about 120 bytes of memory for each."""


@dataclass(frozen=True)
class CodedFrame:
    """A coded frame that has no place in a stream yet; the fields are those of ``Record``."""

    kind: Kind
    reference: int
    quality: int
    digest: int
    payload: bytes

    def record(self, sequence: int, capture_us: int) -> Record:
        """The frame as the record of this sequence and capture time."""
        return Record(sequence, capture_us, self.kind, self.reference, self.quality, self.digest, self.payload)


class Encoder:
    """Codes one camera's pictures. Not thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def encode(self, image: NDArray[np.uint8], quality: float) -> CodedFrame:
        """Codes one picture.

        Args:
            image: uint8[H, W, 3], RGB.
            quality: level, 0..levels - 1; fractions are rounded to sixteenths.

        Raises:
            ImageError: the picture cannot be coded.
            ConfigError: there is no such quality.
        """
        rounded = self._rounded(image, quality_units(self._bundle, quality))
        latents, payload = self._bundle.entropy.encode_snapped(rounded)
        return CodedFrame(Kind.I, 0, latents.quality, latents.digest(), payload)

    def _rounded(self, image: NDArray[np.uint8], quality: int) -> Latents:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f"a picture is uint8[H, W, 3], not {image.dtype}{list(image.shape)}")
        height, width = image.shape[:2]
        try:
            check_size(width, height)
        except RecordError as error:
            raise ImageError(str(error)) from None
        values = self._bundle.analysis.latents(image, self._bundle.gains(quality))
        hyper = self._bundle.hyper_analysis.hyper(values)
        return Latents(values, hyper, quality, width, height)


class Decoder:
    """Decodes one camera's records, in their order. Not thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def latents(self, record: Record, width: int, height: int) -> Latents:
        """The exact latents of a record of a picture of this size.

        Raises:
            ReferenceMissingError: the record leans on a frame that this decoder does not hold.
            RecordError: the payload is not what its digest promises.
        """
        if record.kind is not Kind.I:
            raise ReferenceMissingError(
                f"record {record.sequence} leans on record {record.sequence - record.reference}, which is not here"
            )
        latents = self._bundle.entropy.decode(record.payload, record.quality, width, height)
        if latents.digest() != record.digest:
            raise RecordError(
                f"record {record.sequence} decodes to latents with digest {latents.digest():08x} instead of"
                f" {record.digest:08x}: it was made by another codec, or damaged"
            )
        return latents

    def pictures(self, latents: Sequence[Latents]) -> list[NDArray[np.uint8]]:
        """Pictures of several frames, uint8[H, W, 3] RGB each; each of ``batches`` takes one call of the network."""
        pictures: list[NDArray[np.uint8]] = []
        for frames in batches(latents):
            width, height = frames[0].width, frames[0].height
            values = np.stack([frame.values for frame in frames])
            ungains = np.stack([self._bundle.ungains(frame.quality) for frame in frames])
            pictures.extend(p[:height, :width] for p in self._bundle.synthesis.pictures(values, ungains))
        return pictures

    def decode(self, record: Record, width: int, height: int) -> NDArray[np.uint8]:
        """The picture of a record, uint8[height, width, 3] RGB; raises as ``latents`` does."""
        return self.pictures([self.latents(record, width, height)])[0]


def batches(latents: Sequence[Latents]) -> Iterator[list[Latents]]:
    """The frames in their order, neighbours of one size together as long as they have few enough pixels."""
    for (width, height), group in groupby(latents, key=lambda item: (item.width, item.height)):
        frames = list(group)
        count = max(1, PIXELS_AT_ONCE // (width * height))
        for start in range(0, len(frames), count):
            yield frames[start : start + count]


def quality_units(bundle: Bundle, quality: float) -> int:
    """A quality level in the sixteenths that records carry.

    Raises:
        ConfigError: the bundle has no such level.
    """
    if not 0 <= quality <= bundle.levels - 1:
        raise ConfigError(
            f"quality {quality} is out of range: bundle {bundle.name} has levels 0 to {bundle.levels - 1}"
        )
    return round(quality * QUALITY_STEPS)
