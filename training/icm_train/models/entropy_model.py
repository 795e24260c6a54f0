"""The entropy model while it is trained: float weights, but activations already on the integer network's grid.

``HyperSynthesis`` rounds and clips every activation to the 8-bit grid that the exported integer network uses
(straight-through gradients), so that quantising the weights afterwards costs almost no rate.
"""

from __future__ import annotations

import math

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.ops import LowerBound
from torch import Tensor, nn
from torch.nn import functional as F

from icm.codec.entropy.integer_network import SCALE_COUNT
from icm_train.integer.grid import SCALE_LOG_STEP, SCALE_MIN, quantised_relu
from icm_train.models.networks import NetworkConfig


class HyperSynthesis(nn.Module):
    """h_s: hyper-latents float32[B, N, h/4, w/4] (integers) and levels -> means and scale indexes, both [B, M, h, w].

    The first and the last layer have one bias per quality level, so the hyper-latents need not spell the level out.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden, levels = config.hyper_hidden, len(config.lambdas)
        self.latents = config.latents
        self.first = nn.Conv2d(config.hyper, hidden * 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(hidden, hidden * 4, 3, padding=1)
        self.third = nn.Conv2d(hidden, hidden * 2, 3, padding=1)
        self.last = nn.Conv2d(hidden * 2, config.latents * 2, 1, bias=False)
        self.first_bias = nn.Parameter(torch.full((levels, hidden * 4), 0.5))
        self.last_bias = nn.Parameter(torch.zeros(levels, config.latents * 2))
        with torch.no_grad():
            self.first.weight.mul_(0.3)
            self.last.weight.mul_(0.1)

    def start_from(self, std: Tensor) -> None:
        """Sets the scale biases from the latents' measured deviations, float32[levels, M]."""
        index = (std.clamp_min(SCALE_MIN).log() - math.log(SCALE_MIN)) / SCALE_LOG_STEP
        with torch.no_grad():
            self.last_bias[:, self.latents :] = index / 8

    def forward(self, hyper: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(hyper) + self.first_bias[levels][:, :, None, None]
        x = F.pixel_shuffle(quantised_relu(x), 2)
        x = F.pixel_shuffle(quantised_relu(self.second(x)), 2)
        x = quantised_relu(self.third(x))
        x = self.last(x) + self.last_bias[levels][:, :, None, None]
        means, indexes = x.split(self.latents, 1)
        return means, indexes * 8


class LatentBits(nn.Module):
    """Bits of each latent under a Gaussian of the given mean and scale index, integrated over its unit bin."""

    def __init__(self) -> None:
        super().__init__()
        # These bounds let a gradient through when it would pull the value back inside.
        self.index_bound = LowerBound(0.0)
        self.likelihood_bound = LowerBound(1e-9)

    def forward(self, latents: Tensor, means: Tensor, indexes: Tensor) -> Tensor:
        """latents (integers, or with uniform noise), means, indexes, each float32[B, M, h, w] -> bits of each."""
        index = self.index_bound(indexes).clamp_max(SCALE_COUNT - 1)
        inverse = torch.exp(-(math.log(SCALE_MIN) + index * SCALE_LOG_STEP)) * math.sqrt(0.5)
        distance = (latents - means).abs()
        upper = torch.erfc((distance - 0.5) * inverse)
        lower = torch.erfc((distance + 0.5) * inverse)
        return -torch.log2(self.likelihood_bound(0.5 * (upper - lower)))


class MixtureBits(nn.Module):
    """The same under a mixture of a narrow, a plain and a wide Gaussian, with shares that are learned for each index.

    The tables that ship are counted, so they have whatever shape latents have under an index; at good levels it has far
    heavier tails than a Gaussian, which took 4 to 11 % more bits than such tables (levels 3 and 5 of the long run).
    """

    _WIDTHS = (0.35, 1.0, 3.0)
    _DEGREE = 3

    def __init__(self) -> None:
        super().__init__()
        self.index_bound = LowerBound(0.0)
        self.likelihood_bound = LowerBound(1e-9)
        # Logarithms of the narrow and the wide part's shares beside the plain one's, as polynomials of the index.
        self.shares = nn.Parameter(torch.zeros(2, self._DEGREE + 1))
        with torch.no_grad():
            self.shares[:, 0] = -3.0

    def forward(self, latents: Tensor, means: Tensor, indexes: Tensor) -> Tensor:
        """latents (integers, or with uniform noise), means, indexes, each float32[B, M, h, w] -> bits of each."""
        index = self.index_bound(indexes).clamp_max(SCALE_COUNT - 1)
        inverse = torch.exp(-(math.log(SCALE_MIN) + index * SCALE_LOG_STEP)) * math.sqrt(0.5)
        distance = (latents - means).abs()
        near, far = (distance - 0.5) * inverse, (distance + 0.5) * inverse
        place = index * (2 / (SCALE_COUNT - 1)) - 1
        narrow, wide = (self._polynomial(row, place).exp() for row in self.shares)
        whole = 0.5 / (1 + narrow + wide)
        likelihood = torch.zeros_like(distance)
        for share, width in zip((narrow, torch.ones_like(narrow), wide), self._WIDTHS, strict=True):
            likelihood = likelihood + share * (torch.erfc(near / width) - torch.erfc(far / width))
        return -torch.log2(self.likelihood_bound(whole * likelihood))

    def _polynomial(self, coefficients: Tensor, place: Tensor) -> Tensor:
        total = torch.zeros_like(place)
        for coefficient in coefficients.flip(0):
            total = total * place + coefficient
        return total.clamp(-10, 5)


class HyperPrior(nn.Module):
    """Static density of the hyper-latents, one per channel, the same at every level (Balle et al. 2018, appendix 6.1).

    Only its gradient is used: at export, tables made from histograms replace it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.density = EntropyBottleneck(channels, init_scale=4.0)

    def forward(self, hyper: Tensor) -> Tensor:
        """Bits of each hyper-latent under uniform noise: float32[B, N, h, w] -> the same shape."""
        with torch.autocast(hyper.device.type, enabled=False):
            values = hyper.float().transpose(0, 1)
            flat = values.flatten(1)[:, None]
            # Not its ``forward``, which asks the GPU for an order of dimensions at every call and so waits for it.
            likelihood, _, _ = self.density._likelihood(flat + torch.rand_like(flat) - 0.5)
            bits: Tensor = -torch.log2(self.density.likelihood_lower_bound(likelihood))
        return bits.view(values.shape).transpose(0, 1)
