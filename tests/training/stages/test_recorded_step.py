"""A step that is recorded on a GPU does what the same step does when its kernels are started one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from icm_train.stages.recorded_step import RecordedStep


def made(device: str) -> tuple[nn.Parameter, nn.Parameter, RecordedStep]:
    weight, average = (nn.Parameter(torch.ones(3, device=device)) for _ in range(2))
    optimiser = torch.optim.Adam([weight], lr=torch.tensor(0.1, device=device), fused=True, capturable=device == "cuda")
    return weight, average, RecordedStep([weight], [average], 0.5, optimiser)


def towards(weight: Tensor, target: Tensor) -> Callable[[], tuple[Tensor, dict[str, Tensor]]]:
    def objective() -> tuple[Tensor, dict[str, Tensor]]:
        loss = (weight - target).square().sum()
        return loss, {"loss": loss.detach()}

    return objective


def test_a_step_moves_the_weights_and_half_of_the_way_their_average() -> None:
    weight, average, step = made("cpu")
    told, norm = step.single(towards(weight, torch.zeros(3)))
    assert float(told["loss"]) == 3.0
    assert float(norm) == pytest.approx(2 * 3**0.5)
    assert weight.tolist() == pytest.approx([0.9] * 3)
    assert average.tolist() == pytest.approx([0.95] * 3)


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    weight, average, step = made("cpu")
    step.single(towards(weight, torch.tensor([0.0, float("inf"), 0.0])))
    assert weight.tolist() == [1.0] * 3
    assert average.tolist() == [1.0] * 3
    step.single(towards(weight, torch.zeros(3)))
    assert weight.tolist() == pytest.approx([0.9] * 3), "and does not spoil the next step"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="steps are recorded on a GPU only")
def test_recorded_steps_move_the_weights_as_single_ones_do() -> None:
    single, _, one_by_one = made("cuda")
    played, _, recorded = made("cuda")
    target = torch.tensor([0.0, 0.5, 2.0], device="cuda")
    for _ in range(20):
        one_by_one.single(towards(single, target))
        recorded(towards(played, target))
    # Before it records, it takes some steps at a rate of 0, which the moments remember.
    assert torch.allclose(single, played, atol=0.02)
