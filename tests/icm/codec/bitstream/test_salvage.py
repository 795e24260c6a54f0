from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bitstream.salvage import whole_records
from icm.errors import RecordError

HEADER = StreamHeader(bytes(32), "file", 1, 0, 64, 48)
RECORDS = [
    Record(n, 1000 * n, Kind.P if n % 4 else Kind.I, int(n % 4 > 0), 48, n, np.random.default_rng(n).bytes(20 + 7 * n))
    for n in range(1, 13)
]
PACKED = [record.pack(HEADER) for record in RECORDS]
WHOLE = HEADER.pack() + b"".join(PACKED)
STARTS = [len(HEADER.pack()) + sum(map(len, PACKED[:n])) for n in range(len(PACKED) + 1)]


def test_a_file_that_is_whole_says_nothing() -> None:
    assert whole_records(WHOLE) == (HEADER, RECORDS, None)


@given(st.integers(STARTS[1], len(WHOLE) - 1))
def test_a_cut_costs_only_what_it_cut_off(length: int) -> None:
    whole = max(n for n, start in enumerate(STARTS) if start <= length)
    header, records, problem = whole_records(WHOLE[:length])
    assert (header, records) == (HEADER, RECORDS[:whole])
    assert (problem is None) == (length in STARTS)
    assert problem is None or f"; {whole} whole records are left" in problem


@given(st.lists(st.integers(STARTS[0], len(WHOLE) - 1), min_size=1, max_size=5), st.integers(1, 255))
def test_damage_costs_only_the_records_that_it_hit(places: list[int], flip: int) -> None:
    damaged = bytearray(WHOLE)
    for place in set(places):
        damaged[place] ^= flip
    hit = {max(n for n, start in enumerate(STARTS) if start <= place) for place in places}
    _, records, problem = whole_records(bytes(damaged))
    assert records == [record for n, record in enumerate(RECORDS) if n not in hit]
    assert problem is not None


@given(st.integers(1, 11), st.binary(min_size=1, max_size=300))
def test_what_was_put_in_between_costs_nothing(place: int, extra: bytes) -> None:
    start = STARTS[place]
    _, records, problem = whole_records(WHOLE[:start] + extra + WHOLE[start:])
    assert records == RECORDS
    assert problem is not None


def test_a_record_that_comes_twice_is_taken_once() -> None:
    _, records, problem = whole_records(WHOLE + PACKED[-1] + PACKED[2])
    assert records == RECORDS
    assert "record 12 comes after 12" in (problem or "")


@pytest.mark.parametrize("data", [HEADER.pack(), HEADER.pack() + PACKED[0][:-1], b"", b"nothing of the kind" * 9])
def test_without_a_whole_record_there_is_an_error(data: bytes) -> None:
    with pytest.raises(RecordError):
        whole_records(data)
