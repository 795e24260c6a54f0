"""Symbols on one ANS stream: values under frequency tables, escapes, plain numbers, surprises.

A stack gives back last what it took first, so everything is pushed against the order in which it will be popped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.tables import TOTAL, Tables
from icm.codec.native import library
from icm.errors import RecordError

_BIT_LENGTHS = 17
"""Plain numbers are written as their bit length, 0..16, and then their bits."""


class Symbols(NamedTuple):
    """Latents as they are pushed, in the coding order of their prediction.

    Attributes:
        exceptions: int64[e], positions of those that differ from what was deterministic.
        surprises: int32[e], by how much.
        values: int32[k], of the others, less their means.
        tables: int32[k], of these.
    """

    exceptions: NDArray[np.int64]
    surprises: NDArray[np.int32]
    values: NDArray[np.int32]
    tables: NDArray[np.int32]

    def push(self, coder: Any, tables: Tables) -> None:
        """Pushes them, the exceptions last."""
        _push_surprises(coder, self.exceptions, self.surprises)
        push_symbols(coder, self.values, self.tables, tables)


class Prediction:
    """Means, tables and the coding order of a set of latents.

    Attributes:
        means: int32[n], whole means; a symbol is a latent less its mean. indexes: int32[n], of their tables.
        deterministic: bool[n], latents that are not coded.
        expected: int32[n], what those are.
        order: int64[k], positions of the coded latents, grouped by table.
        order_tables: int32[k], their tables.
    """

    def __init__(self, tables: Tables, means: NDArray[np.int32], indexes: NDArray[np.int32]) -> None:
        """Creates the prediction of n latents.

        Args:
            tables: the frequency tables.
            means: int32[n], the mean of each latent.
            indexes: int32[n], the table of each latent.
        """
        self.means, self.indexes = means, indexes
        count, places = len(indexes), np.empty(len(tables), np.int64)
        self.deterministic, self.expected = np.empty(count, np.bool_), np.empty(count, np.int32)
        coded = library.expected(
            means, indexes, count, tables.deterministic, tables.certain_values, len(tables),
            places, self.deterministic, self.expected,
        )  # fmt: skip
        self.order, self.order_tables = np.empty(coded, np.int64), np.empty(coded, np.int32)
        library.coding_order(
            indexes, self.deterministic, count, len(tables), places, self.order, self.order_tables
        )  # fmt: skip

    def snapped(self, values: NDArray[np.int32]) -> NDArray[np.int32]:
        """The values with those that the tables call deterministic set to what is expected, which then cost nothing."""
        result: NDArray[np.int32] = np.where(self.deterministic, self.expected, values)
        return result

    def symbols(self, values: NDArray[np.int32]) -> Symbols:
        """What is to be pushed of int32[n] values. Most are deterministic and take no memory in it."""
        exceptions = np.flatnonzero(self.deterministic & (values != self.expected))
        surprises = values[exceptions] - self.expected[exceptions]
        return Symbols(exceptions, surprises, (values - self.means)[self.order], self.order_tables)

    def push(self, coder: Any, values: NDArray[np.int32], tables: Tables) -> None:
        """Pushes int32[n] values."""
        self.symbols(values).push(coder, tables)

    def bits(self, values: NDArray[np.int32], tables: Tables) -> NDArray[np.float64]:
        """What each of int32[n] values costs under its table; what is certain costs nothing, and of a value outside its
        table only the escape symbol counts.
        """
        escapes = tables.escapes[self.order_tables]
        symbols = (values - self.means)[self.order] - tables.lowest[self.order_tables]
        symbols = np.where((symbols < 0) | (symbols >= escapes), escapes, symbols)
        starts = np.cumsum(tables.lengths, dtype=np.int64) - tables.lengths
        bits = np.zeros(len(values))
        bits[self.order] = -np.log2(tables.frequencies[starts[self.order_tables] + symbols] / TOTAL)
        return bits

    def pop(self, coder: Any, tables: Tables, largest: int) -> NDArray[np.int32]:
        """What ``push`` pushed.

        Raises:
            RecordError: a symbol is larger than ``largest``, or the stream holds no such values.
        """
        symbols = pop_symbols(coder, self.order_tables, tables, largest)
        values = self.expected.copy()
        values[self.order] = symbols + self.means[self.order]
        _pop_surprises(coder, values)
        return values


def new_coder() -> Any:
    """An empty stack to push on."""
    return constriction.stream.stack.AnsCoder()


def payload_of(coder: Any) -> bytes:
    """What was pushed, as a record's payload: little-endian words, decoded from the end."""
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def coder_of(payload: bytes) -> Any:
    """A stack to pop from.

    Raises:
        RecordError: the payload is no stack.
    """
    if len(payload) % 4:
        raise RecordError(f"the payload has {len(payload)} bytes, not a multiple of 4")
    try:
        return constriction.stream.stack.AnsCoder(np.frombuffer(payload, "<u4").astype(np.uint32))
    except ValueError as error:
        raise RecordError(f"the payload is damaged: {error}") from None


def check_spent(coder: Any) -> None:
    """Checks that the coder's stack is empty.

    Raises:
        RecordError: something is left on the stack.
    """
    if not coder.is_empty():
        raise RecordError("the payload is damaged: it does not end where its latents do")


def push_symbols(coder: Any, values: NDArray[np.int32], indexes: NDArray[np.int32], tables: Tables) -> None:
    """Pushes int32[k] values, each under the table of the same place in ``indexes``."""
    symbols = values - tables.lowest[indexes]
    escapes = tables.escapes[indexes]
    escaped = (symbols < 0) | (symbols >= escapes)
    for value in values[escaped][::-1]:
        push_integer(coder, int(value))
    symbols = np.where(escaped, escapes, symbols).astype(np.int32)
    for start, end, model in reversed(tables.pieces(indexes)):
        coder.encode_reverse(symbols[start:end], *model)


def pop_symbols(coder: Any, indexes: NDArray[np.int32], tables: Tables, largest: int) -> NDArray[np.int32]:
    """What ``push_symbols`` pushed; raises RecordError where a value is larger than ``largest``."""
    symbols = np.empty(len(indexes), np.int32)
    for start, end, model in tables.pieces(indexes):
        symbols[start:end] = coder.decode(*model) if len(model) > 1 else coder.decode(*model, end - start)
    values: NDArray[np.int32] = symbols + tables.lowest[indexes]
    for position in np.flatnonzero(symbols == tables.escapes[indexes]):
        if coder.is_empty():
            raise RecordError("the payload is damaged: it ends early")
        values[position] = pop_integer(coder)
    if len(values) and np.abs(values).max() > largest:
        raise RecordError("the payload is damaged: a value is out of range")
    return values


def _push_surprises(coder: Any, positions: NDArray[np.int64], differences: NDArray[np.int32]) -> None:
    for position, difference in zip(positions[::-1], differences[::-1], strict=True):
        push_integer(coder, int(difference))
        push_number(coder, int(position) & 0xFFFF)
        push_number(coder, int(position) >> 16)
    push_number(coder, len(positions) & 0xFFFF)
    push_number(coder, len(positions) >> 16)


def _pop_surprises(coder: Any, values: NDArray[np.int32]) -> None:
    count = pop_number(coder) << 16
    count |= pop_number(coder)
    last = -1
    for _ in range(count):
        position = pop_number(coder) << 16
        position |= pop_number(coder)
        difference = pop_integer(coder)
        # A spent coder can go on giving zeros for ever: only rising positions and true differences cost bits for sure.
        if not (last < position < len(values) and difference):
            raise RecordError("the payload is damaged: it lists a surprise that is none")
        values[position] += difference
        last = position


def push_integer(coder: Any, value: int) -> None:
    """A signed integer of up to 16 bits, as a magnitude and a sign."""
    if value:
        coder.encode_reverse(int(value < 0), _UNIFORM[1])
    push_number(coder, abs(value))


def pop_integer(coder: Any) -> int:
    """What ``push_integer`` pushed."""
    magnitude = pop_number(coder)
    return -magnitude if magnitude and coder.decode(_UNIFORM[1]) else magnitude


def push_number(coder: Any, value: int) -> None:
    """An integer of 0..65535: its bit length, then the bits below the leading one."""
    length = value.bit_length()
    if length > 1:
        coder.encode_reverse(value - (1 << length - 1), _UNIFORM[length - 1])
    coder.encode_reverse(length, _BIT_LENGTH)


def pop_number(coder: Any) -> int:
    length = int(coder.decode(_BIT_LENGTH))
    if length <= 1:
        return length
    return (1 << length - 1) + int(coder.decode(_UNIFORM[length - 1]))


_BIT_LENGTH = constriction.stream.model.Categorical(
    np.array([TOTAL - _BIT_LENGTHS - 16 * (1 << 19)] + [1 << 19] * 16, np.float64), perfect=False
)
_UNIFORM = [None, *(constriction.stream.model.Uniform(1 << bits) for bits in range(1, 16))]
