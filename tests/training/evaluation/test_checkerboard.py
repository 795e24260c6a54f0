"""The checkerboard score: a pattern that repeats is found, whatever its stride; what only blurs or roughens is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from icm_train.evaluation.checkerboard import (
    GONE_BELOW,
    STRIDES,
    checkerboard_excess,
    checkerboard_scores,
    plant_grid,
)

Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Like photos: detail falls off with frequency, some of it is grain, flat parts beside busy ones."""
    random = np.random.default_rng(3)
    rows, columns = np.fft.fftfreq(256)[:, None], np.fft.fftfreq(320)[None]
    falling = 1 / np.maximum(np.hypot(rows, columns), 1 / 256)
    made = []
    for _ in range(6):
        waves = np.fft.ifft2(np.fft.fft2(random.normal(size=(256, 320))) * falling).real
        waves[:, 160:] *= 0.05
        grain = random.normal(0, 1, waves.shape)
        grey = np.clip(128 + 40 * waves / waves.std() + grain, 0, 255)
        made.append(np.repeat(grey[:, :, None], 3, 2).astype(np.uint8))
    return made


def test_pictures_without_a_pattern_score_about_zero(pictures: list[Picture]) -> None:
    assert checkerboard_scores(pictures) == pytest.approx(dict.fromkeys(STRIDES, 0), abs=0.5)


def test_pictures_against_themselves_have_no_excess(pictures: list[Picture]) -> None:
    for excess in checkerboard_excess(pictures, pictures).values():
        assert (excess.mean, excess.upper) == (0, 0)
        assert excess.gone


@pytest.mark.parametrize("stride", STRIDES)
def test_half_a_grey_level_of_a_planted_pattern_is_found_at_its_stride(pictures: list[Picture], stride: int) -> None:
    planted = [plant_grid(picture, stride) for picture in pictures]
    found = checkerboard_excess(planted, pictures)
    assert found[stride].mean > GONE_BELOW
    assert not found[stride].gone


def test_the_planted_pattern_is_half_a_grey_level_and_adds_no_brightness(pictures: list[Picture]) -> None:
    off = plant_grid(pictures[0], 8) - pictures[0]
    assert set(np.unique(off)) == {-0.5, 0.5}
    assert off.mean() == 0
    assert np.array_equal(off[:8, :8], off[8:16, 24:32])


def test_noise_is_no_pattern(pictures: list[Picture]) -> None:
    random = np.random.default_rng(5)
    noisy = [picture + random.normal(0, 2, picture.shape[:2])[:, :, None] for picture in pictures]
    assert all(excess.gone for excess in checkerboard_excess(noisy, pictures).values())


def test_a_shift_of_the_pattern_changes_nothing(pictures: list[Picture]) -> None:
    planted = [plant_grid(picture, 4) for picture in pictures]
    cropped = [picture[3:, 1:] for picture in planted]
    whole, shifted = (
        checkerboard_excess(p, o)[4] for p, o in ((planted, pictures), (cropped, [p[3:, 1:] for p in pictures]))
    )
    assert shifted.mean == pytest.approx(whole.mean, abs=0.3)


def test_the_upper_bound_lies_above_the_mean(pictures: list[Picture]) -> None:
    blurred = [
        np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.4 + number / 10)))
        for number, picture in enumerate(pictures)
    ]
    for excess in checkerboard_excess(blurred, pictures).values():
        assert excess.upper >= excess.mean


def test_a_picture_smaller_than_a_patch_is_refused_by_its_size() -> None:
    with pytest.raises(ValueError, match="100x130"):
        checkerboard_scores([np.zeros((130, 100, 3), np.uint8)])
