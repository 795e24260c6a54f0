"""The pattern's term of the loss sees a planted grid, lets a picture without one be, and has a gradient against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icm_train.evaluation.checkerboard import STRIDES, checkerboard_scores, plant_grid
from icm_train.losses.periodic_artifacts import PatternExcess, scores


def picture(seed: int) -> torch.Tensor:
    """Smooth noise, like a photo without a pattern: float32[1, 3, 128, 128]."""
    noise = torch.rand(1, 3, 132, 132, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1)


def planted(image: torch.Tensor, stride: int, amplitude: float) -> torch.Tensor:
    pixels = (255 * image[0]).permute(1, 2, 0).numpy()
    grid = plant_grid(pixels, stride, amplitude)
    return torch.from_numpy(grid / 255).permute(2, 0, 1)[None].float()


def pattern_excess(restored: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return PatternExcess(0)(restored, image, 1)


def test_the_scores_are_those_of_the_evaluation() -> None:
    image = planted(picture(1), 8, 2.0)
    measured = checkerboard_scores([(255 * image[0]).permute(1, 2, 0).numpy()])
    found = scores(image)
    assert {stride: float(score) for stride, score in found.items()} == pytest.approx(measured, abs=0.05)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_planted_grid_costs_and_the_original_costs_nothing(stride: int) -> None:
    image = picture(2)
    assert float(pattern_excess(image, image)) == 0
    assert float(pattern_excess(planted(image, stride, 4.0), image)) > 1


def test_following_the_gradient_takes_the_grid_away() -> None:
    image = picture(3)
    restored = planted(image, 4, 3.0).requires_grad_()
    before = float(pattern_excess(restored.detach(), image))
    optimiser = torch.optim.Adam([restored], 1e-3)
    for _ in range(20):
        optimiser.zero_grad()
        pattern_excess(restored, image).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert restored.grad is not None
    assert np.isfinite(restored.grad).all()
    assert float(pattern_excess(restored.detach(), image)) < before / 4


def test_detail_beside_the_grid_costs_less_the_more_steps_it_is_told_from() -> None:
    """Of decoded crops without a pattern, each with noise of its own: what is above zero in one is so by chance."""

    def grainy(seed: int) -> torch.Tensor:
        return picture(seed) + 0.01 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(100 + seed))

    alone, remembered = PatternExcess(0), PatternExcess(0.9)
    steps = [(grainy(seed), picture(seed)) for seed in range(30)]
    single = sum(float(alone(*step, 1)) for step in steps[20:])
    averaged = sum([float(remembered(*step, 1)) for step in steps][20:])
    assert averaged < single / 4


def test_a_grid_costs_as_much_when_it_is_told_from_many_steps() -> None:
    remembered = PatternExcess(0.9)
    for seed in range(12):
        image = picture(seed)
        found = remembered(planted(image, 8, 4.0), image, 1)
    assert float(found) > 1


def test_each_level_is_told_from_its_own_pictures() -> None:
    image = picture(4).repeat(4, 1, 1, 1)
    restored = image.clone()
    restored[1::2] = planted(picture(4), 8, 4.0)
    found = PatternExcess(0)(restored, image, 2)
    assert float(found[0]) == 0
    assert float(found[1]) > 1
