"""A SequenceSet is a set of integers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud_service.store import SequenceSet

ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair))))


@given(ranges)
def test_holds_exactly_what_was_added(added: list[tuple[int, int]]) -> None:
    expected = {member for first, last in added for member in range(first, last + 1)}
    assert {member for member in range(80) if member in SequenceSet(added)} == expected


@given(ranges)
def test_keeps_its_ranges_sorted_and_apart_so_that_it_stays_small(added: list[tuple[int, int]]) -> None:
    kept = list(SequenceSet(added))
    assert all(first <= last for first, last in kept)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(kept))


@given(ranges)
def test_survives_being_written_as_text(added: list[tuple[int, int]]) -> None:
    original = SequenceSet(added)
    assert list(SequenceSet.from_text(original.to_text())) == list(original)


@given(ranges, st.integers(0, 80))
def test_a_run_ends_before_the_first_gap(added: list[tuple[int, int]], after: int) -> None:
    held = SequenceSet(added)
    end = held.end_of_run(after)
    assert all(member in held for member in range(after + 1, end + 1))
    assert end + 1 not in held
