"""Statements of a chain: one way only to write each, and what they say of blocks and segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.errors import ProofError
from icm.proof.entries import entry_of
from icm.proof.statements import Pruned, ranges_of

NUMBERS = st.sets(st.integers(0, 60), min_size=1)


@given(NUMBERS, NUMBERS)
def test_what_was_dropped_is_read_back_and_says_so_of_each_block_and_segment(
    blocks: set[int], segments: set[int]
) -> None:
    said = Pruned("gate", ranges_of(blocks), ranges_of(segments), (("floor", 2), ("max_age", 7)), 5, 6, 7)
    assert entry_of(said.line()) == said
    assert {number for number in range(70) if said.drops(number)} == blocks
    assert {number for number in range(70) if said.covers(number)} == segments


@pytest.mark.parametrize(
    "words",
    [
        "gate 2-1 1-4 max_age:4 1 2 3",
        "gate 1-2,3-4 1-4 max_age:4 1 2 3",
        "gate 3-4,1-1 1-4 max_age:4 1 2 3",
        "gate 01-2 1-4 max_age:4 1 2 3",
        "gate 1-2 - max_age:4 1 2 3",
        "gate 1-2 1-4 max_age:04 1 2 3",
        "gate 1-2 1-4 max_age:4,floor:1 1 2 3",
        "gate 1-2 1-4 floor:1,floor:1 1 2 3",
        "gate 1-2 1-4 max_age:4 1 2 253402300800000000",
        "gate 1-2 1-4 max_age:4 1 2",
        "../gate 1-2 1-4 max_age:4 1 2 3",
        "gate 1-2 1-4 max_age:4 1 2 3 4",
    ],
)
def test_what_is_written_in_another_way_is_refused(words: str) -> None:
    with pytest.raises(ProofError):
        entry_of(f"icm-pruned-1 {words}".encode())
