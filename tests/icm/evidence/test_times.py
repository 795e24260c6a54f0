"""Times in evidence files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.errors import EvidenceError
from icm.evidence.times import microseconds_of, time_text


@given(st.integers(0, 253_000_000_000_000_000))
def test_a_time_that_is_written_is_read_again(microseconds: int) -> None:
    assert microseconds_of(time_text(microseconds)) == microseconds


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01T00:00:00.000000Z", "2026-09-21T14:13:20Z", "now", "9" * 300])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError, match="is no time"):
        microseconds_of(text)


def test_what_no_calendar_has_is_told_as_a_number() -> None:
    assert time_text(1 << 63) == f"{1 << 63} us since 1970"
