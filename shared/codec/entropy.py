"""The payload of an I record: latents to bytes and back, with integer arithmetic only.

A payload is one ANS stream. In the order of decoding it holds whether anything moved since the frame that was decoded
before it, and if so the map of it, the hyper-latents channel by channel, the latents grouped by frequency table, the
values of escaped symbols, and the few latents that differ from what their table called certain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.codec.integer_network import MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import HYPER_MAX, LATENT_MAX, QUALITY_STEPS, Latents, hyper_size, latent_size
from shared.codec.movement import pop_map, push_map
from shared.codec.symbols import (
    Prediction,
    check_spent,
    coder_of,
    new_coder,
    payload_of,
    pop_number,
    pop_symbols,
    push_number,
    push_symbols,
)
from shared.codec.tables import Tables
from shared.errors import BundleError, RecordError


class EntropyModel:
    """The integer network h_s with its tables: what both ends must agree on to code a frame alone."""

    def __init__(
        self,
        network: IntegerNetwork,
        latent_tables: Tables,
        hyper_tables: Tables,
        movement_tables: Tables,
        levels: int,
        latent_channels: int,
    ) -> None:
        """Args:
        latent_tables: one per scale index and eighth of a mean.
        hyper_tables: one per level and channel.
        movement_tables: one per context of ``movement``.
        levels: how many quality levels there are.
        latent_channels: M.

        Raises:
            BundleError: the tables are not as many as they should be.
        """
        self.network = network
        self.latent_tables = latent_tables
        self.hyper_tables = hyper_tables
        self.movement_tables = movement_tables
        self.levels, self.latent_channels = levels, latent_channels
        self.hyper_channels, odd = divmod(len(hyper_tables), levels)
        if odd or len(latent_tables) != SCALE_COUNT * MEAN_STEPS:
            counts = f"{len(latent_tables)} latent and {len(hyper_tables)} hyper-latent"
            raise BundleError(f"{counts} frequency tables do not fit a codec of {levels} levels")

    def level(self, quality: int) -> int:
        """The level whose biases and tables hold at this quality, the nearest one."""
        return min((quality + QUALITY_STEPS // 2) // QUALITY_STEPS, self.levels - 1)

    def predict(self, hyper: NDArray[np.int8], quality: int, rows: int, columns: int) -> Prediction:
        """What the hyper-latents say about latents of rows x columns."""
        means, indexes = self.network(hyper[None], self.level(quality))
        means, indexes = means[0, :, :rows, :columns], indexes[0, :, :rows, :columns]
        tables = (indexes.astype(np.int32) * MEAN_STEPS + means % MEAN_STEPS).ravel()
        return Prediction(self.latent_tables, (means // MEAN_STEPS).ravel(), tables)

    def encode_snapped(self, latents: Latents) -> tuple[Latents, bytes]:
        """Sets the latents that the model calls certain to what it expects, which then cost nothing, and encodes.

        Returns:
            The latents as they will be decoded, and their payload.
        """
        prediction = self._prediction(latents)
        values = prediction.snapped(latents.values.ravel().astype(np.int32))
        snapped = values.astype(np.int16).reshape(latents.values.shape)
        return replace(latents, values=snapped), self._write(values, latents, prediction)

    def encode(self, latents: Latents) -> bytes:
        """The payload of an I record; lossless for any latents."""
        return self._write(latents.values.ravel().astype(np.int32), latents, self._prediction(latents))

    def _prediction(self, latents: Latents) -> Prediction:
        _, rows, columns = latents.values.shape
        return self.predict(latents.hyper, latents.quality, rows, columns)

    def _write(self, values: NDArray[np.int32], latents: Latents, prediction: Prediction) -> bytes:
        coder = new_coder()
        prediction.push(coder, values, self.latent_tables)
        tables = self._hyper_tables(latents.quality, latents.hyper[0].size)
        push_symbols(coder, latents.hyper.ravel().astype(np.int32), tables, self.hyper_tables)
        moved = latents.moved
        if moved.any():
            push_map(coder, moved, np.zeros_like(moved), self.movement_tables)
        push_number(coder, int(moved.any()))
        return payload_of(coder)

    def decode(self, payload: bytes, quality: int, width: int, height: int) -> Latents:
        """The latents of an I record's payload.

        Raises:
            RecordError: the payload does not decode to latents of a picture of this size.
        """
        if quality > (self.levels - 1) * QUALITY_STEPS:
            raise RecordError(f"the record has quality {quality}/16; this codec's best level is {self.levels - 1}")
        coder = coder_of(payload)
        rows, columns = latent_size(width, height)
        hyper_shape = (self.hyper_channels, *hyper_size(width, height))
        tables = self._hyper_tables(quality, hyper_shape[1] * hyper_shape[2])
        moved = np.zeros((rows, columns), bool)
        if pop_number(coder):
            moved = pop_map(coder, moved, self.movement_tables)
        hyper = pop_symbols(coder, tables, self.hyper_tables, HYPER_MAX).astype(np.int8).reshape(hyper_shape)
        prediction = self.predict(hyper, quality, rows, columns)
        values = prediction.pop(coder, self.latent_tables, 2 * LATENT_MAX)
        check_spent(coder)
        if np.abs(values).max() > LATENT_MAX:
            raise RecordError("the payload is damaged: a latent is out of range")
        shape = (self.latent_channels, rows, columns)
        return Latents(values.astype(np.int16).reshape(shape), hyper, moved, quality, width, height)

    def _hyper_tables(self, quality: int, positions: int) -> NDArray[np.int32]:
        first = self.level(quality) * self.hyper_channels
        return np.repeat(np.arange(first, first + self.hyper_channels, dtype=np.int32), positions)
