"""Frequency tables: the coder library codes with exactly our integers."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.entropy.tables import TOTAL, Tables, normalised
from icm.errors import BundleError


def plain_ans_decode(words: list[int], frequencies: list[int], count: int) -> list[int]:
    """A range-ANS decoder in Python integers: 64-bit state, 32-bit words, 24-bit frequencies."""
    starts = [0, *np.cumsum(frequencies).tolist()]
    stack = list(words)
    state = stack.pop() if stack else 0
    if stack:
        state = state << 32 | stack.pop()
    symbols = []
    for _ in range(count):
        quantile = state % TOTAL
        symbol = int(np.searchsorted(starts, quantile, side="right")) - 1
        symbols.append(symbol)
        state = (state // TOTAL) * frequencies[symbol] + quantile - starts[symbol]
        if state < 1 << 32 and stack:
            state = state << 32 | stack.pop()
    return symbols


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60).filter(lambda w: sum(w) > 0), st.data())
def test_a_plain_integer_decoder_reads_what_the_library_writes(weights: list[float], data: st.DataObject) -> None:
    frequencies = normalised(np.array(weights))
    tables = Tables(frequencies, np.array([len(weights)], np.uint16), np.zeros(1, np.int16), np.zeros(1, bool))
    symbols = data.draw(st.lists(st.integers(0, len(weights) - 1), max_size=40))
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(np.array(symbols, np.int32), tables.models[0])
    words = [int(word) for word in coder.get_compressed()]
    assert plain_ans_decode(words, frequencies.tolist(), len(symbols)) == symbols


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 4, 40]), st.sampled_from([20, 400, 5000]))
def test_however_symbols_are_divided_into_calls_the_stream_is_that_of_one_by_one(
    seed: int, tables: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    lengths = np.sort(random.choice([3, 9, 25, 64, 65, 300], tables)).astype(np.uint16)
    frequencies = np.concatenate([normalised(random.exponential(1, length) ** 4) for length in lengths])
    made = Tables(frequencies, lengths, np.zeros(tables, np.int16), np.zeros(tables, bool))
    indexes = np.sort(random.integers(0, tables, count)).astype(np.int32)
    symbols = (random.random(count) * lengths[indexes]).astype(np.int32)
    together, alone = constriction.stream.stack.AnsCoder(), constriction.stream.stack.AnsCoder()
    for start, end, model in reversed(made.pieces(indexes)):
        together.encode_reverse(symbols[start:end], *model)
    for symbol, table in zip(symbols[::-1], indexes[::-1], strict=True):
        alone.encode_reverse(int(symbol), made.models[table])
    assert (together.get_compressed() == alone.get_compressed()).all()


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=300).filter(lambda w: sum(w) > 0))
def test_normalised_frequencies_are_positive_and_sum_to_the_total(weights: list[float]) -> None:
    frequencies = normalised(np.array(weights))
    assert frequencies.min() >= 1
    assert frequencies.sum(dtype=np.int64) == TOTAL


@pytest.mark.parametrize(
    ("frequencies", "lengths"),
    [([TOTAL // 2, TOTAL // 2 - 1], [2]), ([TOTAL, 0], [2]), ([TOTAL], [1]), ([TOTAL // 2, TOTAL // 2], [3]), ([], [])],
)
def test_malformed_tables_are_refused(frequencies: list[int], lengths: list[int]) -> None:
    count = len(lengths)
    with pytest.raises(BundleError, match="table"):
        Tables(
            np.array(frequencies, np.uint32),
            np.array(lengths, np.uint16),
            np.zeros(count, np.int16),
            np.zeros(count, bool),
        )
