"""Latents to payload bytes and back, with integer arithmetic only.

A payload is one ANS stream. In the order of decoding it holds the hyper-latents channel by channel, the latents
grouped by frequency table, the values of escaped symbols, and the few latents that differ from what their table
called certain. A payload's words are little-endian; an ANS decoder takes them from the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from shared.codec.integer_network import MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from shared.codec.latents import HYPER_MAX, LATENT_MAX, QUALITY_STEPS, Latents, hyper_size, latent_size
from shared.codec.tables import TOTAL, Tables
from shared.errors import BundleError, RecordError

_BIT_LENGTHS = 17
"""Escaped values are written as their bit length, 0..16, and then their bits."""


class EntropyModel:
    """The integer network with its tables: everything about a codec that both ends must agree on."""

    def __init__(
        self, network: IntegerNetwork, latent_tables: Tables, hyper_tables: Tables, levels: int, latent_channels: int
    ) -> None:
        """Args:
        latent_tables: one per scale index and eighth of a mean.
        hyper_tables: one per level and channel.
        levels: how many quality levels there are.
        latent_channels: M.

        Raises:
            BundleError: the tables are not as many as they should be.
        """
        self.network = network
        self.latent_tables = latent_tables
        self.hyper_tables = hyper_tables
        self.levels, self.latent_channels = levels, latent_channels
        self.hyper_channels, odd = divmod(len(hyper_tables), levels)
        if odd or len(latent_tables) != SCALE_COUNT * MEAN_STEPS:
            counts = f"{len(latent_tables)} latent and {len(hyper_tables)} hyper-latent"
            raise BundleError(f"{counts} frequency tables do not fit a codec of {levels} levels")

    @staticmethod
    def from_arrays(
        network: IntegerNetwork, stored: Mapping[str, NDArray[Any]], levels: int, latent_channels: int
    ) -> EntropyModel:
        """Raises BundleError: the arrays do not hold all tables."""
        try:
            latent_tables, hyper_tables = (
                Tables(*(stored[f"{name}_{part}"] for part in ("frequencies", "lengths", "lowest", "certain")))
                for name in ("latent", "hyper")
            )
        except KeyError as error:
            raise BundleError(f"the entropy model lacks the array {error.args[0]!r}") from None
        return EntropyModel(network, latent_tables, hyper_tables, levels, latent_channels)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tables as arrays to store."""
        stored: dict[str, NDArray[Any]] = {}
        for name, tables in (("latent", self.latent_tables), ("hyper", self.hyper_tables)):
            stored[f"{name}_frequencies"] = tables.frequencies
            stored[f"{name}_lengths"] = tables.lengths
            stored[f"{name}_lowest"] = tables.lowest.astype(np.int16)
            stored[f"{name}_certain"] = tables.certain
        return stored

    def level(self, quality: int) -> int:
        """The level whose biases and tables hold at this quality, the nearest one."""
        return min((quality + QUALITY_STEPS // 2) // QUALITY_STEPS, self.levels - 1)

    def predict(self, hyper: NDArray[np.int8], quality: int, rows: int, columns: int) -> _Prediction:
        """What the hyper-latents say about latents of rows x columns."""
        means, indexes = self.network(hyper, self.level(quality))
        means, indexes = means[:, :rows, :columns], indexes[:, :rows, :columns]
        tables = (indexes.astype(np.int32) * MEAN_STEPS + means % MEAN_STEPS).ravel()
        return _Prediction(self.latent_tables, (means // MEAN_STEPS).ravel(), tables)

    def encode_snapped(self, latents: Latents) -> tuple[Latents, bytes]:
        """Sets the latents that the model calls certain to what it expects, which then cost nothing, and encodes.

        Returns:
            The latents as they will be decoded, and their payload.
        """
        prediction = self._prediction(latents)
        values = latents.values.ravel().astype(np.int32)
        values[prediction.certain] = prediction.expected[prediction.certain]
        snapped = values.astype(np.int16).reshape(latents.values.shape)
        return replace(latents, values=snapped), self._write(values, latents, prediction)

    def encode(self, latents: Latents) -> bytes:
        """The payload of an I record; lossless for any latents."""
        return self._write(latents.values.ravel().astype(np.int32), latents, self._prediction(latents))

    def _prediction(self, latents: Latents) -> _Prediction:
        _, rows, columns = latents.values.shape
        return self.predict(latents.hyper, latents.quality, rows, columns)

    def _write(self, values: NDArray[np.int32], latents: Latents, prediction: _Prediction) -> bytes:
        coder = constriction.stream.stack.AnsCoder()
        # A stack gives back last what it took first: everything goes in against the order of decoding.
        surprises = np.flatnonzero(prediction.certain & (values != prediction.expected))
        _push_surprises(coder, surprises, (values - prediction.expected)[surprises])
        symbols = values[prediction.order] - prediction.means[prediction.order]
        _push_symbols(coder, symbols, prediction.order_tables, self.latent_tables)
        tables = self._hyper_tables(latents.quality, latents.hyper[0].size)
        _push_symbols(coder, latents.hyper.ravel().astype(np.int32), tables, self.hyper_tables)
        return bytes(coder.get_compressed().astype("<u4").tobytes())

    def decode(self, payload: bytes, quality: int, width: int, height: int) -> Latents:
        """The latents of an I record's payload.

        Raises:
            RecordError: the payload does not decode to latents of a picture of this size.
        """
        if len(payload) % 4:
            raise RecordError(f"the payload has {len(payload)} bytes, not a multiple of 4")
        if quality > (self.levels - 1) * QUALITY_STEPS:
            raise RecordError(f"the record has quality {quality}/16; this codec's best level is {self.levels - 1}")
        try:
            coder = constriction.stream.stack.AnsCoder(np.frombuffer(payload, "<u4").astype(np.uint32))
        except ValueError as error:
            raise RecordError(f"the payload is damaged: {error}") from None
        rows, columns = latent_size(width, height)
        hyper_shape = (self.hyper_channels, *hyper_size(width, height))
        tables = self._hyper_tables(quality, hyper_shape[1] * hyper_shape[2])
        hyper = _pop_symbols(coder, tables, self.hyper_tables, HYPER_MAX).astype(np.int8).reshape(hyper_shape)
        prediction = self.predict(hyper, quality, rows, columns)
        symbols = _pop_symbols(coder, prediction.order_tables, self.latent_tables, 2 * LATENT_MAX)
        values = prediction.expected
        values[prediction.order] = symbols + prediction.means[prediction.order]
        _pop_surprises(coder, values)
        if not coder.is_empty() or np.abs(values).max() > LATENT_MAX:
            raise RecordError("the payload is damaged: it does not end where its latents do")
        shape = (self.latent_channels, rows, columns)
        return Latents(values.astype(np.int16).reshape(shape), hyper, quality, width, height)

    def _hyper_tables(self, quality: int, positions: int) -> NDArray[np.int32]:
        first = self.level(quality) * self.hyper_channels
        return np.repeat(np.arange(first, first + self.hyper_channels, dtype=np.int32), positions)


class _Prediction:
    """Means, tables and the coding order of all latents of a frame.

    Attributes:
        means: int32[n], whole means; a symbol is a latent less its mean.
        certain: bool[n], latents that are not coded; expected: int32[n], what those are.
        order: int64[k], positions of the coded latents, grouped by table; order_tables: int32[k], their tables.
    """

    def __init__(self, tables: Tables, means: NDArray[np.int32], indexes: NDArray[np.int32]) -> None:
        self.means = means
        self.certain = tables.certain[indexes]
        self.expected = means + tables.certain_values[indexes]
        coded = np.flatnonzero(~self.certain)
        # A stable sort of small integers: the order depends on nothing but the indexes.
        self.order = coded[np.argsort(indexes[coded].astype(np.uint16), kind="stable")]
        self.order_tables = indexes[self.order]


def _runs(tables: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """(table, start, end) of each run of equal values."""
    if len(tables) == 0:
        return []
    starts = np.concatenate(([0], np.flatnonzero(np.diff(tables)) + 1, [len(tables)]))
    return [(int(tables[a]), int(a), int(b)) for a, b in pairwise(starts)]


def _push_symbols(coder: Any, values: NDArray[np.int32], indexes: NDArray[np.int32], tables: Tables) -> None:
    symbols = values - tables.lowest[indexes]
    escapes = tables.escapes[indexes]
    escaped = (symbols < 0) | (symbols >= escapes)
    for value in values[escaped][::-1]:
        _push_integer(coder, int(value))
    symbols = np.where(escaped, escapes, symbols).astype(np.int32)
    for table, start, end in reversed(_runs(indexes)):
        coder.encode_reverse(symbols[start:end], tables.models[table])


def _pop_symbols(coder: Any, indexes: NDArray[np.int32], tables: Tables, largest: int) -> NDArray[np.int32]:
    symbols = np.empty(len(indexes), np.int32)
    for table, start, end in _runs(indexes):
        symbols[start:end] = coder.decode(tables.models[table], end - start)
    values: NDArray[np.int32] = symbols + tables.lowest[indexes]
    for position in np.flatnonzero(symbols == tables.escapes[indexes]):
        if coder.is_empty():
            raise RecordError("the payload is damaged: it ends early")
        values[position] = _pop_integer(coder)
    if len(values) and np.abs(values).max() > largest:
        raise RecordError("the payload is damaged: a value is out of range")
    return values


def _push_surprises(coder: Any, positions: NDArray[np.int64], differences: NDArray[np.int32]) -> None:
    for position, difference in zip(positions[::-1], differences[::-1], strict=True):
        _push_integer(coder, int(difference))
        _push_number(coder, int(position) & 0xFFFF)
        _push_number(coder, int(position) >> 16)
    _push_number(coder, len(positions) & 0xFFFF)
    _push_number(coder, len(positions) >> 16)


def _pop_surprises(coder: Any, values: NDArray[np.int32]) -> None:
    count = _pop_number(coder) << 16
    count |= _pop_number(coder)
    last = -1
    for _ in range(count):
        position = _pop_number(coder) << 16
        position |= _pop_number(coder)
        difference = _pop_integer(coder)
        # A spent coder can go on giving zeros for ever: only rising positions and true differences cost bits for sure.
        if not (last < position < len(values) and difference):
            raise RecordError("the payload is damaged: it lists a surprise that is none")
        values[position] += difference
        last = position


def _push_integer(coder: Any, value: int) -> None:
    """A signed integer of up to 16 bits, as a magnitude and a sign."""
    if value:
        coder.encode_reverse(int(value < 0), _UNIFORM[1])
    _push_number(coder, abs(value))


def _pop_integer(coder: Any) -> int:
    magnitude = _pop_number(coder)
    return -magnitude if magnitude and coder.decode(_UNIFORM[1]) else magnitude


def _push_number(coder: Any, value: int) -> None:
    """An integer of 0..65535: its bit length, then the bits below the leading one."""
    length = value.bit_length()
    if length > 1:
        coder.encode_reverse(value - (1 << length - 1), _UNIFORM[length - 1])
    coder.encode_reverse(length, _BIT_LENGTH)


def _pop_number(coder: Any) -> int:
    length = int(coder.decode(_BIT_LENGTH))
    if length <= 1:
        return length
    return (1 << length - 1) + int(coder.decode(_UNIFORM[length - 1]))


_BIT_LENGTH = constriction.stream.model.Categorical(
    np.array([TOTAL - _BIT_LENGTHS - 16 * (1 << 19)] + [1 << 19] * 16, np.float64), perfect=False
)
_UNIFORM = [None, *(constriction.stream.model.Uniform(1 << bits) for bits in range(1, 16))]
