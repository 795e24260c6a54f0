"""Where in a picture its bits go: what the entropy model charges for the latents of each position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import Prediction
from icm.codec.entropy.tables import TOTAL, Tables
from icm.codec.latents.latents import Latents
from icm.codec.payload.intra import IntraEntropyModel


def bits_by_position(model: IntraEntropyModel, latents: Latents) -> NDArray[np.float64]:
    """Bits of a frame coded alone, float64[h, w].

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
        charged = _bits(model.predict(surroundings.expect(step)), values.ravel(), model.latent_tables)
        bits[positions] += charged.reshape(values.shape).sum(0)
        surroundings.learn(step, values)
    return bits.reshape(rows, columns)


def _bits(prediction: Prediction, values: NDArray[np.int32], tables: Tables) -> NDArray[np.float64]:
    """Of each value, float64[n]; what is certain costs nothing."""
    indexes = prediction.order_tables
    escapes = tables.escapes[indexes]
    symbols = (values - prediction.means)[prediction.order] - tables.lowest[indexes]
    symbols = np.where((symbols < 0) | (symbols >= escapes), escapes, symbols)
    starts = np.cumsum(tables.lengths, dtype=np.int64) - tables.lengths
    bits = np.zeros(len(values))
    bits[prediction.order] = -np.log2(tables.frequencies[starts[indexes] + symbols] / TOTAL)
    return bits
