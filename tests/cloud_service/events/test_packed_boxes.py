"""Boxes of a segment in few bytes: all come back, within a quarter pixel, or damage is said."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_service.detection import Detection
from cloud_service.events.packed_boxes import PackedFrame, pack, unpack
from icm.codec.bitstream.record import MAX_SIDE
from icm.errors import StoredDamageError

EDGE = st.floats(0, MAX_SIDE, allow_nan=False)
DETECTION = st.builds(
    Detection, st.sampled_from(["person", "car", "traffic light", "Müll"]), st.floats(0, 1), EDGE, EDGE, EDGE, EDGE
)
LABELLED = st.lists(st.tuples(DETECTION, st.integers(0, (1 << 63) - 1)), max_size=6)
FRAME = st.builds(
    lambda sequence, capture_us, labelled: PackedFrame(
        sequence, capture_us, tuple(box for box, _ in labelled), tuple(label for _, label in labelled)
    ),
    st.integers(1, (1 << 32) - 1),
    st.integers(-(1 << 40), 1 << 52),
    LABELLED,
)


def same_box(one: Detection, other: Detection) -> bool:
    """Whether one is the other as it is after packing."""
    edges = ((one.left, other.left), (one.top, other.top), (one.right, other.right), (one.bottom, other.bottom))
    close = all(abs(first - second) <= 0.25 for first, second in edges)
    return one.class_name == other.class_name and abs(one.score - other.score) <= 1e-5 and close


@given(st.lists(FRAME, max_size=12, unique_by=lambda frame: frame.sequence))
@settings(max_examples=150, deadline=None)
def test_whatever_is_packed_comes_back_in_order_of_time_within_a_quarter_pixel(frames: list[PackedFrame]) -> None:
    boxes = unpack(pack(frames))
    back = list(boxes.frames())
    ordered = sorted(frames, key=lambda frame: (frame.capture_us, frame.sequence))
    assert [frame._replace(detections=()) for frame in back] == [frame._replace(detections=()) for frame in ordered]
    for one, other in zip(ordered, back, strict=True):
        assert len(one.detections) == len(other.detections)
        assert all(map(same_box, one.detections, other.detections))
        assert boxes.frame(one.sequence) == other
    assert boxes.frame(0) is None


def scene() -> list[PackedFrame]:
    """Ten seconds of five things that move, at 10 fps."""
    return [
        PackedFrame(
            1000 + number,
            1_790_000_000_000_000 + number * 100_000 + number * 7919 % 3000,
            tuple(
                Detection(
                    ("person", "car")[thing % 2],
                    0.5 + 0.4 * math.sin(number * 1.7 + thing),
                    100.0 * thing + number * (thing - 2) * 0.7 + math.sin(number * 12.9),
                    50.0 * thing + math.sin(number * 78.2),
                    100.0 * thing + 60 + number * (thing - 2) * 0.7 + math.sin(number * 37.7),
                    50.0 * thing + 150 + math.sin(number * 93.9),
                )
                for thing in range(5)
            ),
            tuple(5000 + thing for thing in range(5)),
        )
        for number in range(100)
    ]


def test_a_box_takes_less_than_eight_bytes() -> None:
    assert len(pack(scene())) < 8 * 500


def test_a_bit_that_flipped_or_bytes_that_are_missing_are_named_as_damage() -> None:
    data, told = pack(scene()), 0
    places = range(0, len(data) * 8, 97)
    for place in places:
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        try:
            # A few bits of what zlib writes mean nothing.
            assert list(unpack(bytes(damaged)).frames()) == list(unpack(data).frames())
        except StoredDamageError as error:
            told += "packed boxes are damaged" in str(error)
    assert told > 0.98 * len(places)
    for end in [0, 1, 5, *range(20, len(data), 301)]:
        with pytest.raises(StoredDamageError, match="restart icm-cloud"):
            unpack(data[:end])
    assert all(one.capture_us < other.capture_us for one, other in pairwise(unpack(data).frames()))
