"""Average precision over photos, and over any resampling of them."""

from __future__ import annotations

import numpy as np
import pytest

from icm_train.evaluation.average_precision import MatchedDetections
from icm_train.evaluation.detection import Detections, LabelledPhoto


def photo(name: str, *boxes: tuple[int, int, int, int, int]) -> LabelledPhoto:
    return LabelledPhoto(name, np.zeros((100, 100, 3), np.uint8), np.array(boxes, float).reshape(-1, 5))


def right(*boxes: tuple[int, int, int, int, int]) -> Detections:
    return [(kind, 0.9, *map(float, box)) for kind, *box in boxes]  # type: ignore[misc]


CAT, DOG = (15, 10, 10, 50, 50), (16, 20, 20, 90, 80)


def test_detections_that_equal_the_labels_are_worth_one_and_none_are_worth_nothing() -> None:
    photos = [photo("a", CAT), photo("b", DOG)]
    assert MatchedDetections(photos, [right(CAT), right(DOG)]).precision() == pytest.approx((1, 1))
    assert MatchedDetections(photos, [[], []]).precision() == (0, 0)


def test_a_box_that_is_only_half_right_counts_at_low_overlap_alone() -> None:
    shifted = (15, 10, 10, 50, 40)  # overlaps three quarters: right at 0.5 to 0.75, wrong from 0.8 on
    precision = MatchedDetections([photo("a", CAT)], [right(shifted)]).precision()
    assert precision.map50 == pytest.approx(1)
    assert precision.map == pytest.approx(0.6)


def test_a_sample_of_the_photos_counts_only_what_was_chosen() -> None:
    photos = [photo("a", CAT), photo("b", DOG), photo("c")]
    matched = MatchedDetections(photos, [right(CAT), [], right(CAT)])
    assert matched.precision(np.array([0, 0])).map == pytest.approx(1)
    assert matched.precision(np.array([1])).map == 0
    assert matched.precision().map < 1


def test_a_sample_equals_the_evaluation_of_the_sampled_photos_themselves() -> None:
    random = np.random.default_rng(0)
    photos, found = [], []
    for number in range(12):
        corners = random.integers(0, 50, (4, 2))
        boxes = [(int(random.integers(3)), x, y, x + 30, y + 40) for x, y in corners.tolist()]
        photos.append(photo(str(number), *boxes))
        found.append(
            [(kind, float(random.random()), *(np.array(box) + random.normal(0, 8, 4)).tolist()) for kind, *box in boxes]
        )
    chosen = random.integers(12, size=12)
    sampled = MatchedDetections(photos, found).precision(chosen)
    direct = MatchedDetections([photos[i] for i in chosen], [found[i] for i in chosen]).precision()
    assert sampled == pytest.approx(direct)
    assert 0 < sampled.map < sampled.map50 < 1
