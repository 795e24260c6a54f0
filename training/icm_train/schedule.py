"""Learning rates over a run, as shares of their peaks.

Cosine: I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv 1608.03983; one period
here, without a restart.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_LAST = 0.02
"""Share of the peak that a cosine ends with."""


def warm_up(step: int, steps: int) -> float:
    """The share for the step after ``step`` others, which rises over the first ``steps`` to 1."""
    return min(1.0, (step + 1) / max(1, steps))


def cosine(step: int, steps: int) -> float:
    """The share for the step after ``step`` others, which falls from 1 to 0.02 over ``steps``."""
    return _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def linear(done: float, least: float = 0.0) -> float:
    """The share when this part of a fall is done: 1 up to 0, ``least`` from 1 on."""
    return min(1.0, max(least, 1 - done))


def set_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Sets the learning rate of each group of parameters to this share of the group's ``peak``."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):  # where a recorded step reads it
            group["lr"].fill_(group["peak"] * share)
        else:
            group["lr"] = group["peak"] * share


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes over the moments of a saved state; peaks stay those that the optimiser was made with.

    Args:
        optimiser: of as many groups and parameters as the saved one.
        state: its ``state_dict``; its groups may have no peaks.
    """
    peaks = [group["peak"] for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, peak in zip(optimiser.param_groups, peaks, strict=True):
        group["peak"] = peak
