"""Coded frames to pictures. One Decoder per camera; the bundle is shared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import Kind, Record
from icm.codec.latents.latents import QUALITY_STEPS, Latents
from icm.codec.motion.prediction import LinearPicture, reference_after
from icm.codec.predict.requantise import requantise
from icm.codec.transforms.incremental import IncrementalSynthesis
from icm.errors import RecordError, ReferenceMissingError

if TYPE_CHECKING:
    # A bundle decodes its golden records when it is loaded, so at run time it is the one that needs this file.
    from icm.codec.bundle.loading import Bundle


class Decoder:
    """Decodes one camera's records, in their order. Not thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        # Made with the first picture: who decodes latents only never loads the synthesis.
        self._synthesis: IncrementalSynthesis | None = None
        self._sequence = 0
        self._last: Latents | None = None
        self._linear = None if bundle.motion is None else LinearPicture(bundle.motion.path)

    def latents(self, record: Record, width: int, height: int) -> Latents:
        """The exact latents of a record of a picture of this size.

        Raises:
            ReferenceMissingError: the record refers to another frame than the one decoded last.
            RecordError: the payload is not what its digest promises.
        """
        reference = self._last if record.sequence - record.reference == self._sequence else None
        latents = decode_latents(self._bundle, record, width, height, reference, self._linear)
        self.resume(record.sequence, latents)
        return latents

    def resume(self, sequence: int, latents: Latents) -> None:
        """The next P record may lean on this frame."""
        self._sequence, self._last = sequence, latents

    def picture(self, latents: Latents, *, for_detector: bool = False) -> NDArray[np.uint8]:
        """The picture of a frame, uint8[H, W, 3] RGB; where it is as the last one was, nothing is computed.

        Args:
            latents: the frame's.
            for_detector: as detectors are to see it, which with some bundles is with less grain than people, or none.
        """
        grain = self._bundle.detector_grain(latents.kind) if for_detector else self._bundle.grain
        return grain.over(self.synthesised(latents), latents.quality)

    def synthesised(self, latents: Latents) -> NDArray[np.uint8]:
        """As ``picture``, without any grain."""
        if self._synthesis is None:
            self._synthesis = IncrementalSynthesis(self._bundle.synthesis, self._bundle.sparse_synthesis)
        quality = latents.quality
        whole = self._synthesis.picture(
            latents.values, self._bundle.inverse_gains(quality), self._bundle.level_shares(quality)
        )
        return whole[: latents.height, : latents.width]

    def decode(self, record: Record, width: int, height: int, *, for_detector: bool = False) -> NDArray[np.uint8]:
        """The picture of a record, uint8[height, width, 3] RGB, as ``picture`` gives it; raises as ``latents`` does."""
        return self.picture(self.latents(record, width, height), for_detector=for_detector)


def decode_latents(
    bundle: Bundle,
    record: Record,
    width: int,
    height: int,
    reference: Latents | None,
    picture: LinearPicture | None = None,
) -> Latents:
    """The exact latents of a record, checked against its digest.

    Args:
        reference: latents of the frame that a P record refers to; None if they are not known.
        picture: the caller's for its chain of records, so that motion computes only what changed; None for a new
            one.

    Raises:
        ReferenceMissingError: a P record came without a reference of its size.
        RecordError: there is no such quality, or the payload is not what its digest promises.
    """
    if record.quality > (bundle.levels - 1) * QUALITY_STEPS:
        raise RecordError(
            f"record {record.sequence} has quality {record.quality}/16, but this codec's best level is"
            f" {bundle.levels - 1}"
        )
    if record.kind is Kind.I:
        latents = bundle.entropy.decode(record.payload, record.quality, width, height)
    elif reference is None or (reference.width, reference.height) != (width, height):
        raise ReferenceMissingError(
            f"record {record.sequence} refers to record {record.sequence - record.reference}, which is not here"
        )
    else:
        like, level = replace(reference, quality=record.quality), bundle.entropy.level(record.quality)
        if bundle.motion is not None and record.motion:
            pictures = picture or LinearPicture(bundle.motion.path)
            latents = bundle.motion.decode(
                record.payload, like, reference_after(reference, record.quality, bundle.octaves, pictures), level
            )
        elif bundle.temporal is not None and not record.motion:
            values = requantise(reference.values, bundle.octaves, reference.quality, record.quality)
            latents = bundle.temporal.decode(record.payload, like, values, reference.updated, level)
        else:
            kind = "with" if record.motion else "without"
            raise RecordError(f"record {record.sequence} is a P record {kind} motion, of which {bundle.name} has none")
    if (digest := latents.digest(record.version)) != record.digest:
        raise RecordError(
            f"record {record.sequence} decodes to latents with digest {digest:08x} instead of"
            f" {record.digest:08x}: it was made by another codec, or damaged"
        )
    return latents
