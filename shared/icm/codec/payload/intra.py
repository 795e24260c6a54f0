"""The payload of an I record: latents to bytes and back, with integer arithmetic only.

A payload is one ANS stream. In the order of decoding it holds whether anything moved since the frame that was decoded
before it, and if so the map of it or, where the frame had motion, its field and map of the background; the
hyper-latents, channel by channel; the latents in the steps of ``icm.codec.entropy.context``: in each, grouped by
frequency table, then the values of escaped symbols, and the few latents that differ from what their table called
certain; and what of the background is remembered otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import (
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
from icm.codec.entropy.context import ContextModel, ContextState, Expected
from icm.codec.entropy.integer_network import MEAN_SHIFT, MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from icm.codec.entropy.skip_map import pop_map, push_map
from icm.codec.entropy.tables import Tables
from icm.codec.latents.latents import HYPER_MAX, LATENT_MAX, QUALITY_STEPS, Latents, hyper_size, latent_size
from icm.codec.motion.model import MotionModel
from icm.codec.motion.state import pop_memory, pop_state, push_memory, push_state
from icm.errors import BundleError, RecordError

_NOTHING, _MAP, _STATE = range(3)
"""What an I record says that its frame leaves for the next one beside its latents."""


class IntraEntropyModel:
    """The integer networks and their tables: what both ends must agree on to code a frame alone."""

    def __init__(
        self,
        network: IntegerNetwork,
        context: ContextModel,
        latent_tables: Tables,
        hyper_tables: Tables,
        skip_map_tables: Tables,
        levels: int,
        latent_channels: int,
        motion: MotionModel | None = None,
    ) -> None:
        """Creates the model from its parts.

        Args:
            network: h_s, which predicts the latents from the hyper-latents.
            context: corrects that prediction step by step.
            latent_tables: one per scale index and eighth of a mean.
            hyper_tables: one per level and channel.
            skip_map_tables: one per context of the skip map: see ``skip_map.contexts``.
            levels: how many quality levels there are.
            latent_channels: M.
            motion: of frames with motion, which may be coded again, alone; None in a bundle that has none.

        Raises:
            BundleError: the number of tables is wrong.
        """
        self.network, self.context = network, context
        self.latent_tables = latent_tables
        self.hyper_tables = hyper_tables
        self.skip_map_tables, self.motion = skip_map_tables, motion
        self.levels, self.latent_channels = levels, latent_channels
        self.hyper_channels, odd = divmod(len(hyper_tables), levels)
        if odd or len(latent_tables) != SCALE_COUNT * MEAN_STEPS:
            counts = f"{len(latent_tables)} latent and {len(hyper_tables)} hyper-latent"
            raise BundleError(f"{counts} frequency tables do not fit a codec of {levels} levels")

    def level(self, quality: int) -> int:
        """The level whose biases and tables hold at this quality, the nearest one."""
        return min((quality + QUALITY_STEPS // 2) // QUALITY_STEPS, self.levels - 1)

    def surroundings(self, hyper: NDArray[np.int8], quality: int, rows: int, columns: int) -> ContextState:
        """Latents of rows x columns, of which nothing but the hyper-latents is known."""
        level, order = self.level(quality), self.context.order
        means, indexes = (
            array[0, order, :rows, :columns].reshape(len(order), rows * columns).astype(np.int32)
            for array in self.network(hyper[None], level)
        )
        return ContextState(self.context, Expected(means, indexes), rows, columns, level)

    def predict(self, expected: Expected) -> Prediction:
        """Tables and coding order of latents of which so much is known."""
        means = expected.means.ravel()
        tables = (expected.indexes.ravel() << MEAN_SHIFT) + (means & (MEAN_STEPS - 1))
        return Prediction(self.latent_tables, means >> MEAN_SHIFT, tables)

    def encode_approximate(self, latents: Latents) -> tuple[Latents, bytes]:
        """Sets the latents that the model calls certain to what it expects, which then cost nothing, and encodes.

        Returns:
            The latents as they will be decoded, and their payload.
        """
        return self._encode(latents, snap=True)

    def encode(self, latents: Latents) -> bytes:
        """The payload of an I record; lossless for any latents."""
        return self._encode(latents, snap=False)[1]

    def _encode(self, latents: Latents, *, snap: bool) -> tuple[Latents, bytes]:
        shape, order = latents.values.shape, self.context.order
        coded = latents.values.reshape(shape[0], -1)[order].astype(np.int32)
        surroundings = self.surroundings(latents.hyper, latents.quality, *shape[1:])
        steps = []
        for step in range(len(self.context)):
            group, positions = surroundings.places(step)
            prediction, values = self.predict(surroundings.expect(step)), coded[group].take(positions, axis=1)
            if snap:
                values = prediction.snapped(values.ravel()).reshape(values.shape)
                coded[group][:, positions] = values
            surroundings.learn(step, values)
            steps.append(prediction.symbols(values.ravel()))
        coder = new_coder()
        if latents.memory is not None:
            push_memory(coder, latents, self._known_motion(), self.level(latents.quality))
        for symbols in reversed(steps):
            symbols.push(coder, self.latent_tables)
        tables = self._hyper_tables(latents.quality, latents.hyper[0].size)
        push_symbols(coder, latents.hyper.ravel().astype(np.int32), tables, self.hyper_tables)
        if latents.memory is not None:
            push_state(coder, latents, self._known_motion())
        elif latents.updated.any():
            push_map(coder, latents.updated, np.zeros_like(latents.updated), self.skip_map_tables)
        push_number(coder, _STATE if latents.memory is not None else _MAP if latents.updated.any() else _NOTHING)
        return replace(latents, values=self._in_channels(coded, shape)), payload_of(coder)

    def decode(self, payload: bytes, quality: int, width: int, height: int) -> Latents:
        """The latents of an I record's payload, at a quality that the codec has.

        Raises:
            RecordError: the payload does not decode to latents of a picture of this size.
        """
        coder = coder_of(payload)
        rows, columns = latent_size(width, height)
        hyper_shape = (self.hyper_channels, *hyper_size(width, height))
        tables = self._hyper_tables(quality, hyper_shape[1] * hyper_shape[2])
        updated, state = np.zeros((rows, columns), bool), None
        leaves = pop_number(coder)
        if leaves == _STATE and self.motion is not None:
            state = pop_state(coder, updated, self.motion)
        elif leaves == _MAP:
            updated = pop_map(coder, updated, self.skip_map_tables)
        elif leaves != _NOTHING:
            raise RecordError("the payload is damaged: it says of nothing known what the frame leaves for the next one")
        hyper = pop_symbols(coder, tables, self.hyper_tables, HYPER_MAX).astype(np.int8).reshape(hyper_shape)
        surroundings = self.surroundings(hyper, quality, rows, columns)
        decoded = np.zeros((self.latent_channels, rows * columns), np.int32)
        for step in range(len(self.context)):
            expected = surroundings.expect(step)
            values = self.predict(expected).pop(coder, self.latent_tables, 2 * LATENT_MAX).reshape(expected.means.shape)
            if np.abs(values).max(initial=0) > LATENT_MAX:
                raise RecordError("the payload is damaged: a latent is out of range")
            group, positions = surroundings.places(step)
            decoded[group][:, positions] = values
            surroundings.learn(step, values)
        latents = self._in_channels(decoded, (self.latent_channels, rows, columns))
        frame = Latents(latents, hyper, updated, quality, width, height)
        if state is not None and self.motion is not None:
            memory = pop_memory(coder, state, latents, self.motion, self.level(quality))
            frame = frame.with_state(state.field, memory)
        check_spent(coder)
        return frame

    def _known_motion(self) -> MotionModel:
        assert self.motion is not None, "a bundle without motion has no frames with it"
        return self.motion

    def _in_channels(self, ordered: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int16]:
        """Latents in the groups' order, int32[M, h * w], as int16[M, h, w] of this shape."""
        values = np.empty(ordered.shape, np.int16)
        values[self.context.order] = ordered
        return values.reshape(shape)

    def _hyper_tables(self, quality: int, positions: int) -> NDArray[np.int32]:
        first = self.level(quality) * self.hyper_channels
        return np.repeat(np.arange(first, first + self.hyper_channels, dtype=np.int32), positions)
