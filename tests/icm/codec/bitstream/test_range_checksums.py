from __future__ import annotations

import google_crc32c
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.bitstream.range_checksums import RangeChecksums

DATA = np.random.default_rng(3).bytes(100_000)
CHECKSUMS = RangeChecksums(DATA)


@given(st.integers(0, len(DATA)), st.integers(0, len(DATA)))
def test_a_parts_checksum_is_what_going_over_it_gives(one: int, other: int) -> None:
    begin, end = sorted((one, other))
    assert CHECKSUMS.of(begin, end) == google_crc32c.value(DATA[begin:end])


@given(st.binary(max_size=300), st.integers(1, 9))
def test_so_it_is_at_the_edges_of_what_is_kept_and_where_nothing_is(data: bytes, steps: int) -> None:
    whole = data * steps + bytes((steps << 14) - len(data) * steps if len(data) * steps < steps << 14 else 0)
    checksums = RangeChecksums(whole)
    for begin in (0, len(data), 1 << 14):
        if begin <= len(whole):
            assert checksums.of(begin, len(whole)) == google_crc32c.value(whole[begin:])
