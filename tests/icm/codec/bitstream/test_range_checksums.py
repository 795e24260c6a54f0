from __future__ import annotations

import google_crc32c
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from icm.codec.bitstream.range_checksums import RangeChecksums

DATA = np.random.default_rng(3).bytes(600_000)
CHECKSUMS = RangeChecksums(DATA)
KEPT = 1 << 14


@given(st.integers(0, len(DATA)), st.integers(0, len(DATA)))
@example(0, len(DATA))
@example(KEPT, 33 * KEPT)
@example(KEPT - 1, 33 * KEPT + 1)
@example(9, 9)
def test_a_parts_checksum_is_what_going_over_it_gives(one: int, other: int) -> None:
    begin, end = sorted((one, other))
    assert CHECKSUMS.of(begin, end) == google_crc32c.value(DATA[begin:end])


@given(st.binary(max_size=100))
def test_so_it_is_of_data_that_is_shorter_than_what_is_kept(data: bytes) -> None:
    for begin in range(len(data) + 1):
        assert RangeChecksums(data).of(begin, len(data)) == google_crc32c.value(data[begin:])
