"""What lasts is taken for true where a clip has no truth."""

from __future__ import annotations

import pytest

from cloud_service.detection import Detection
from icm_bench.video.lasting import lasting_objects

FPS = 10


def person(left: float, score: float = 0.8, name: str = "person") -> Detection:
    return Detection(name, score, left, 10, left + 20, 50)


def test_an_object_is_followed_as_it_moves_and_frames_that_missed_it_are_filled() -> None:
    found = [[person(2 * n)] for n in range(15)]
    found[6] = found[7] = []
    truth = lasting_objects(found, FPS)
    assert sorted(truth) == list(range(15))
    assert [float(truth[n][0, 1]) for n in (5, 6, 7, 8)] == pytest.approx([10, 12, 14, 16])


def test_what_is_seen_for_less_than_a_second_or_faintly_is_left_out() -> None:
    assert lasting_objects([[person(5)] for _ in range(9)], FPS) == {}
    assert lasting_objects([[person(5, score=0.3)] for _ in range(20)], FPS) == {}


def test_an_object_has_the_class_that_it_was_seen_as_most_often() -> None:
    found = [[person(5, name="dog" if n % 3 == 0 else "person")] for n in range(20)]
    assert {int(boxes[0, 0]) for boxes in lasting_objects(found, FPS).values()} == {0}
