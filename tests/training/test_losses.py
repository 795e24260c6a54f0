"""Object-MSE: what lies outside all masks counts as much as it is told to, and no detector has a say."""

from __future__ import annotations

import pytest
import torch

from training.losses import object_mse, squared_error

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
