"""Which blocks of a picture count as changed: people do, noise does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.transforms.change_detection import NOISE_THRESHOLD, ChangeDetector

GREY = np.full((64, 96, 3), 100, np.uint8)


def changed(image: NDArray[np.uint8], threshold: float = NOISE_THRESHOLD) -> list[tuple[int, int]]:
    """Row and column of the blocks that changed since GREY."""
    return [(int(row), int(column)) for row, column in np.argwhere(ChangeDetector(threshold).changed(image, GREY, 0.6))]


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


def noisy(image: NDArray[np.uint8], sigma: float, seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("sigma", [3, 8, 12])
def test_a_loud_sensor_is_learned_and_what_moves_still_seen(sigma: float) -> None:
    scene, detector = np.full((240, 320, 3), 100, np.uint8), ChangeDetector()
    kept = noisy(scene, sigma, 0)
    frames = [detector.changed(noisy(scene, sigma, seed), kept, 0.6) for seed in range(1, 9)]
    assert frames[-1].mean() < 0.01
    person = scene.copy()
    person[48:112, 64:96] = 150
    updated = detector.changed(noisy(person, sigma, 9), kept, 0.6)
    assert updated[3:7, 4:6].all()
    assert updated.sum() <= 8 + 3


def test_a_camera_that_turns_for_a_second_is_not_taken_for_a_loud_one() -> None:
    wide = np.random.default_rng(4).integers(0, 256, (15, 60, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    scene, detector = wide[:, :320], ChangeDetector()
    for _ in range(8):
        detector.changed(scene, scene, 0.6)
    for step in range(25):
        detector.changed(wide[:, 4 * step : 4 * step + 320], scene, 0.6)
    changed = scene.copy()
    changed[0:16, 0:16] += np.uint8(9)
    assert detector.changed(changed, scene, 0.6)[0, 0]
