"""Pictures to coded frames. One Encoder per camera; the bundle is shared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import Kind, Record, check_size
from icm.codec.bundle.loading import Bundle
from icm.codec.latents.latents import LATENT_MAX, QUALITY_STEPS, Latents
from icm.codec.motion.choice import Costs, ModeDecision
from icm.codec.motion.prediction import LinearPicture, reference_after
from icm.codec.predict.requantise import requantise
from icm.codec.predict.skip import RD_LAMBDA, skip_decision
from icm.codec.transforms.incremental import IncrementalAnalysis, whole_blocks
from icm.errors import ConfigError, ImageError, RecordError

MANY_UPDATED = 0.3
"""Share of positions from which on a frame may be cheaper as an I frame; both ways are tried."""


@dataclass(frozen=True)
class CodedFrame:
    """A coded frame that has no place in a stream yet.

    Attributes:
        kind: as in ``Record``.
        reference: as in ``Record``; a P frame refers to the one coded just before it.
        quality: as in ``Record``.
        digest: as in ``Record``.
        payload: as in ``Record``.
        latents: what it will be decoded to.
        motion: as in ``Record``.
    """

    kind: Kind
    reference: int
    quality: int
    digest: int
    payload: bytes
    latents: Latents = field(compare=False, repr=False)
    motion: bool = False

    def record(self, sequence: int, capture_us: int) -> Record:
        """The frame as the record of this sequence and capture time."""
        return Record(
            sequence, capture_us, self.kind, self.reference, self.quality, self.digest, self.payload, self.motion
        )


class Encoder:
    """Codes one camera's pictures, each given the one before. Not thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._analysis = IncrementalAnalysis(bundle.analysis, bundle.sparse_analysis)
        self._last: Latents | None = None
        self._touched = np.zeros((0, 0), bool)
        if bundle.motion is not None:
            self._pictures, self._costs = LinearPicture(bundle.motion.path), Costs(bundle.motion.tables)
            apart = bundle.motion.search is not bundle.motion.path
            self._searched = LinearPicture(bundle.motion.search) if apart else self._pictures

    def encode(self, image: NDArray[np.uint8], quality: float, *, intra: bool = False) -> CodedFrame:
        """Codes one picture: as a P frame after the last one where that is cheaper, else as an I frame.

        Args:
            image: uint8[H, W, 3], RGB.
            quality: level, 0..levels - 1; fractions are rounded to sixteenths.
            intra: code an I frame in any case.

        Raises:
            ImageError: the picture cannot be coded.
            ConfigError: there is no such quality.
        """
        units = quality_units(self._bundle, quality)
        check_image(image)
        height, width = image.shape[:2]
        latents, changed = self._analysis.latents(image, self._bundle.level_shares(units))
        last = self._last
        if intra or last is None or (last.width, last.height) != (width, height):
            coded = self._intra(latents, units, width, height)
        else:
            coded = self._after(last, latents, units, changed, image)
            if coded.latents.updated.mean() > MANY_UPDATED:
                wanted = self._wanted(latents, units)
                both = coded, self._intra(latents, units, width, height)
                coded = min(both, key=lambda frame: _cost(wanted, frame))
        # What is touched now is looked at once more when it has come to rest.
        self._touched = changed
        self._last = coded.latents
        return coded

    def forget(self) -> None:
        """The last coded frame will not reach the decoder: the next one is coded as an I frame."""
        self._last = None

    def _intra(self, latents: NDArray[np.float32], quality: int, width: int, height: int) -> CodedFrame:
        values = np.rint(self._wanted(latents, quality)).astype(np.int16)
        hyper = self._bundle.hyper_analysis.hyper(values)
        rounded = Latents(values, hyper, np.zeros(values.shape[1:], bool), quality, width, height)
        snapped, payload = self._bundle.entropy.encode_approximate(rounded)
        return CodedFrame(Kind.I, 0, quality, snapped.digest(), payload, snapped)

    def _after(
        self,
        last: Latents,
        latents: NDArray[np.float32],
        quality: int,
        changed: NDArray[np.bool_],
        image: NDArray[np.uint8],
    ) -> CodedFrame:
        motion = self._bundle.motion
        reference = reference_after(last, quality, self._bundle.octaves, self._pictures) if motion else None
        before = (
            reference.latents if reference else requantise(last.values, self._bundle.octaves, last.quality, quality)
        )
        # What neither changed nor was touched just before is held unseen.
        seen = changed | self._touched if last.quality == quality else np.ones_like(changed)
        gains = self._bundle.gains(quality)
        scaled = np.clip(latents[:, seen] * gains[:, None], -LATENT_MAX, LATENT_MAX)
        values, updated = before.copy(), np.zeros_like(seen)
        values[:, seen], updated[seen] = skip_decision(scaled, before[:, seen])
        hyper = np.zeros((last.hyper.shape[0], 0, 0), np.int8)
        coded = Latents(values, hyper, updated, quality, last.width, last.height)
        level = self._bundle.entropy.level(quality)
        if motion is None or reference is None:
            assert self._bundle.temporal is not None, "a bundle has P records of at least one kind"
            payload = self._bundle.temporal.encode(coded, before, last.updated, level)
            return CodedFrame(Kind.P, 1, quality, coded.digest(), payload, coded)
        searched = self._searched.of(reference.latents, quality)
        chooser = ModeDecision(motion.path, self._costs, reference, searched, float(np.median(1 / gains)))
        wanted = self._wanted(latents, quality)
        choice = chooser.choose(wanted, whole_blocks(image), updated)
        payload, values = motion.encode_chosen(wanted, choice.field, choice.prediction, reference, level)
        coded = replace(coded, values=values).after(choice.field, reference.memory)
        return CodedFrame(Kind.P, 1, quality, coded.digest(), payload, coded, motion=True)

    def _wanted(self, latents: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
        """Latents in quantisation steps, not rounded."""
        wanted: NDArray[np.float32] = np.clip(
            latents * self._bundle.gains(quality)[:, None, None], -LATENT_MAX, LATENT_MAX
        )
        return wanted


def _cost(wanted: NDArray[np.float32], frame: CodedFrame) -> float:
    """Squared error in quantisation steps, and bits by what they are worth."""
    return float(np.square(wanted - frame.latents.values).sum()) + RD_LAMBDA * 8 * len(frame.payload)


def recode_intra(bundle: Bundle, latents: Latents) -> CodedFrame:
    """Any decoded frame as an I frame, without loss: same latents, same digest, no reference."""
    whole = replace(latents, hyper=bundle.hyper_analysis.hyper(latents.values))
    return CodedFrame(Kind.I, 0, whole.quality, whole.digest(), bundle.entropy.encode(whole), whole)


def check_image(image: NDArray[np.uint8]) -> None:
    """Checks that a picture can be coded.

    Raises:
        ImageError: this is no picture that can be coded.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"a picture is uint8[H, W, 3], not {image.dtype}{list(image.shape)}")
    try:
        check_size(image.shape[1], image.shape[0])
    except RecordError as error:
        raise ImageError(str(error)) from None


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
