"""Shares of the peak learning rate over a run."""

from __future__ import annotations

import pytest
import torch

from icm_train.schedule import cosine, linear, load_optimiser, set_rates, warm_up


def test_a_warm_up_rises_in_equal_steps_and_may_be_none_at_all() -> None:
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warm_up(0, 0) == 1


def test_a_cosine_falls_from_the_peak_to_two_per_cent_and_stays_there() -> None:
    assert cosine(0, 100) == 1
    assert cosine(50, 100) == pytest.approx(0.51)
    assert cosine(100, 100) == cosine(250, 100) == pytest.approx(0.02)


def test_a_linear_fall_begins_at_the_peak_and_ends_at_the_least_share() -> None:
    assert [linear(done) for done in (-1.0, 0.0, 0.25, 1.0, 2.0)] == [1, 1, 0.75, 0, 0]
    assert linear(0.99, 0.02) == 0.02


@pytest.mark.parametrize("saved_peak", [{}, {"peak": 7.0}])
def test_a_loaded_optimiser_has_the_saved_moments_and_its_own_peaks(saved_peak: dict[str, float]) -> None:
    def updated() -> torch.optim.Adam:
        weight = torch.nn.Parameter(torch.ones(2))
        weight.grad = torch.ones(2)
        optimiser = torch.optim.Adam([{"params": [weight], "peak": 0.5}])
        optimiser.step()
        return optimiser

    state = updated().state_dict()
    del state["param_groups"][0]["peak"]
    state["param_groups"][0] |= saved_peak
    state["state"][0]["exp_avg"] = torch.full((2,), 3.0)
    optimiser = updated()
    load_optimiser(optimiser, state)
    set_rates(optimiser, 0.1)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.05)
    assert optimiser.state_dict()["state"][0]["exp_avg"].tolist() == [3, 3]
