"""Which blocks of a picture count as changed: people do, noise does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.codec.changes import changed_blocks
from shared.codec.tiles import NOISE_THRESHOLD

GREY = np.full((64, 96, 3), 100, np.uint8)


def changed(image: NDArray[np.uint8], threshold: float = NOISE_THRESHOLD) -> list[tuple[int, int]]:
    """Row and column of the blocks that changed since GREY."""
    return [(int(row), int(column)) for row, column in np.argwhere(changed_blocks(image, GREY, threshold, 0.6))]


def painted(rows: slice, columns: slice, value: int) -> NDArray[np.uint8]:
    image = GREY.copy()
    image[rows, columns] = value
    return image


def test_sensor_noise_is_no_change() -> None:
    noise = np.random.default_rng(1).normal(0, 4, GREY.shape)
    assert changed((GREY + noise).round().astype(np.uint8)) == []


def test_a_thin_edge_changes_the_blocks_it_lies_in_and_no_other() -> None:
    assert changed(painted(slice(20, 44), slice(37, 39), 150)) == [(1, 2), (2, 2)]


def test_darker_counts_like_brighter() -> None:
    assert changed(painted(slice(0, 8), slice(0, 8), 70)) == changed(painted(slice(0, 8), slice(0, 8), 130)) == [(0, 0)]


def test_light_that_changes_slowly_everywhere_is_a_change_before_the_eye_sees_it() -> None:
    assert changed(GREY + np.uint8(2)) == []
    assert len(changed(GREY + np.uint8(3))) == 24


@pytest.mark.parametrize(("threshold", "expected"), [(0, [(3, 5)]), (NOISE_THRESHOLD, [])])
def test_with_a_threshold_of_0_a_single_pixel_by_a_single_level_is_a_change(
    threshold: float, expected: list[tuple[int, int]]
) -> None:
    assert changed(painted(slice(63, 64), slice(95, 96), 101), threshold) == expected
