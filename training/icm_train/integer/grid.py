"""The grid of the integer networks, as float networks keep to it while they are trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from icm.codec.entropy.integer_network import ACTIVATION_MAX, SCALE_COUNT

ACTIVATION_STEPS = 32
"""Integer activation units per 1.0 of the float network."""
SCALE_MIN = 0.08
SCALE_MAX = 256.0
SCALE_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALE_COUNT - 1)


def round_ste(x: Tensor) -> Tensor:
    """Rounds half up, as the integer network does; the gradient passes straight through."""
    return x + (torch.floor(x + 0.5) - x).detach()


def quantised_relu(x: Tensor) -> Tensor:
    """ReLU on the 8-bit grid; gradients pass inside the range only."""
    return round_ste(torch.clamp(x, 0, ACTIVATION_MAX / ACTIVATION_STEPS) * ACTIVATION_STEPS) / ACTIVATION_STEPS
