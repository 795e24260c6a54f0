"""A JPEG's segments are found in time that grows with the file, whatever its bytes are."""

from __future__ import annotations

import pytest

from icm.media.jpeg import Markers


@pytest.mark.parametrize("after", [b"\x00", b"\xd0", b""])
def test_a_long_run_of_fill_bytes_ends(after: bytes) -> None:
    # Looked through again from each of its bytes, this would take days.
    markers = Markers(b"\xff\xd8" + b"\xff" * (4 << 20) + after)
    assert markers.end is None


def test_fill_bytes_before_a_marker_are_no_part_of_it() -> None:
    data = b"\xff\xd8" + b"\xff" * 5 + b"\xfe\x00\x04hi" + b"\xff\xd9"
    assert Markers(data).end == len(data)
