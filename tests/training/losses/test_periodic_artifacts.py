"""The pattern's term of the loss sees a planted grid, lets a picture without one be, and has a gradient against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icm_train.evaluation.checkerboard import STRIDES, checkerboard_scores, plant_grid
from icm_train.losses.periodic_artifacts import pattern_excess, scores


def picture(seed: int) -> torch.Tensor:
    """Smooth noise, like a photo without a pattern: float32[1, 3, 128, 128]."""
    noise = torch.rand(1, 3, 132, 132, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1)


def planted(image: torch.Tensor, stride: int, amplitude: float) -> torch.Tensor:
    pixels = (255 * image[0]).permute(1, 2, 0).numpy()
    grid = plant_grid(pixels, stride, amplitude)
    return torch.from_numpy(grid / 255).permute(2, 0, 1)[None].float()


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
