"""Where in a picture its bits go: what the entropy model charges for each position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.latents.latents import Latents
from icm.codec.motion.prediction import LinearPicture, predict, reference_after
from icm.codec.payload.intra import IntraEntropyModel
from icm.codec.predict.requantise import requantise


def bits_by_position(
    bundle: Bundle, record: Record, latents: Latents, reference: Latents | None = None
) -> NDArray[np.float64]:
    """Bits of a record's payload by position, float64[h, w]; they add up to its length.

    The latents' own bits are where they are. What belongs to no position, hyper-latents, maps, modes and vectors, is
    spread evenly: over the positions that moved, or over the whole picture of a frame that is coded alone.

    Args:
        record: the frame's.
        latents: that it decodes to.
        reference: latents of the frame that a P record refers to.
    """
    bits, spread = np.zeros(latents.updated.shape), latents.updated
    if record.kind is Kind.I:
        bits, spread = intra_bits(bundle.entropy, latents), np.ones_like(latents.updated)
    elif reference is not None:
        bits = _difference_bits(bundle, record, latents, reference)
    if not spread.any():
        spread = np.ones_like(spread)
    rest = 8 * len(record.payload) - bits.sum()
    shares: NDArray[np.float64] = bits + spread * (rest / spread.sum())
    return shares


def intra_bits(model: IntraEntropyModel, latents: Latents) -> NDArray[np.float64]:
    """Bits of the latents of a frame that is coded alone, float64[h, w].

    Hyper-latents, 1 to 3 % of the bits, belong to no position and are not in it; of a value outside its table only the
    escape symbol is.
    """
    channels, rows, columns = latents.values.shape
    ordered = latents.values.reshape(channels, -1)[model.context.order].astype(np.int32)
    surroundings = model.surroundings(latents.hyper, latents.quality, rows, columns)
    bits = np.zeros(rows * columns)
    for step in range(len(model.context)):
        group, positions = surroundings.places(step)
        values = ordered[group].take(positions, axis=1)
        charged = model.predict(surroundings.expect(step)).bits(values.ravel(), model.latent_tables)
        bits[positions] += charged.reshape(values.shape).sum(0)
        surroundings.learn(step, values)
    return bits.reshape(rows, columns)


def _difference_bits(bundle: Bundle, record: Record, latents: Latents, reference: Latents) -> NDArray[np.float64]:
    """Bits of the differences from what a P record's frame is predicted as, float64[h, w]."""
    bits, level = np.zeros(latents.updated.shape), bundle.entropy.level(record.quality)
    if record.motion and bundle.motion is not None:
        motion, field = bundle.motion, latents.field
        known = reference_after(reference, record.quality, bundle.octaves, LinearPicture(motion.path))
        said = predict(motion.path, field, known)
        surroundings = motion.surroundings(said.values, field)
        bits[field.coded] = motion.differences.bits(surroundings, latents.values, said.values, level, said.eighths)
    elif bundle.temporal is not None:
        before = requantise(reference.values, bundle.octaves, reference.quality, record.quality)
        surroundings = bundle.temporal.surroundings(before, latents.updated)
        bits[latents.updated] = bundle.temporal.differences.bits(surroundings, latents.values, before, level)
    return bits
