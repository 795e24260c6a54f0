"""Object-MSE: what lies outside all masks counts as much as it is told to, and no detector has a say."""

from __future__ import annotations

import pytest
import torch

from icm_train.losses.rate_distortion import object_mse, squared_error, visible_error

IMAGE = torch.zeros(1, 3, 8, 8)
MASK = torch.zeros(1, 8, 8)
MASK[:, :4] = 1


def wrong_at(row: int) -> torch.Tensor:
    """The image with one row off by a tenth of the range."""
    restored = IMAGE.clone()
    restored[:, :, row] = 0.1
    return restored


def test_an_error_outside_all_masks_costs_nothing_at_background_0() -> None:
    assert object_mse(wrong_at(6), IMAGE, MASK, 0.0, "pixel").item() == 0
    assert object_mse(wrong_at(2), IMAGE, MASK, 0.0, "pixel").item() > 0


def test_background_1_is_plain_mse() -> None:
    plain = squared_error(wrong_at(6), IMAGE).mean((1, 2))
    for area in ("pixel", "mask"):
        assert object_mse(wrong_at(6), IMAGE, MASK, 1.0, area).item() == pytest.approx(plain.item())


def test_a_background_weight_scales_what_lies_outside() -> None:
    inside, outside = (object_mse(wrong_at(row), IMAGE, MASK, 0.05, "pixel").item() for row in (2, 6))
    assert outside == pytest.approx(0.05 * inside)


def test_the_mean_over_pixels_grows_with_the_objects_area_and_the_mean_over_masks_does_not() -> None:
    small = torch.zeros(1, 8, 8)
    small[:, 2] = 1
    everywhere = IMAGE + 0.1
    by_pixel = [object_mse(everywhere, IMAGE, mask, 0.0, "pixel").item() for mask in (small, MASK)]
    by_mask = [object_mse(everywhere, IMAGE, mask, 0.0, "mask").item() for mask in (small, MASK)]
    assert by_pixel[1] == pytest.approx(4 * by_pixel[0])
    assert by_mask[1] == pytest.approx(by_mask[0])


def test_a_picture_without_objects_costs_nothing_at_background_0() -> None:
    assert object_mse(wrong_at(2), IMAGE, torch.zeros(1, 8, 8), 0.0, "mask").item() == 0


def texture(contrast: float) -> torch.Tensor:
    """Stripes of two pixels, 32 px wide and high."""
    stripes = (torch.arange(32) // 2 % 2).float() - 0.5
    return (0.5 + contrast * stripes).expand(1, 3, 32, 32)


def test_an_error_is_seen_less_where_there_is_more_texture() -> None:
    errors = [visible_error(texture(contrast) + 0.02, texture(contrast)).mean() for contrast in (0.0, 0.1, 0.4)]
    assert errors[0] > 1.3 * errors[1]
    assert errors[1] > 1.2 * errors[2]


def test_in_flat_surroundings_an_even_error_counts_as_its_square() -> None:
    flat = texture(0.0)
    assert visible_error(flat + 0.02, flat) == pytest.approx(squared_error(flat + 0.02, flat))


def test_a_fine_error_is_seen_less_than_a_coarse_one_of_the_same_size() -> None:
    fine = 0.02 * (1 - 2 * (torch.arange(32) % 2)).float().expand(1, 3, 32, 32)
    flat = texture(0.0)
    assert visible_error(flat + fine, flat).mean() < 0.3 * visible_error(flat + 0.02, flat).mean()
