"""The temporal entropy model while it is trained: float weights, activations already on the integer network's grid.

One network per group of channels; ``shared.codec.temporal`` says what they see and what they predict.
"""

from __future__ import annotations

import math

import torch
from compressai.ops import LowerBound
from torch import Tensor, nn

from shared.codec.integer_network import SCALE_COUNT
from training.entropy_model import SCALE_LOG_STEP, SCALE_MIN, quantised_relu

HIDDEN = 128
GROUP_SHARES = (1 / 32, 1 / 8, 3 / 8, 1)
"""Shares of the channels, by falling energy, after which the groups end."""


class GroupNetwork(nn.Module):
    """Surroundings float32[A, C, 3, 3] (whole numbers) and levels int64[A] -> means and scale indexes, [A, G] each."""

    def __init__(self, inputs: int, outputs: int, levels: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.first = nn.Conv2d(inputs, HIDDEN, 3, bias=False)
        self.second = nn.Conv2d(HIDDEN, HIDDEN, 1)
        self.last = nn.Conv2d(HIDDEN, 2 * outputs, 1, bias=False)
        self.first_bias = nn.Parameter(torch.full((levels, HIDDEN), 0.5))
        self.last_bias = nn.Parameter(torch.zeros(levels, 2 * outputs))
        with torch.no_grad():
            self.first.weight.mul_(0.3)
            self.last.weight.mul_(0.1)

    def start_from(self, std: Tensor) -> None:
        """Sets the scale biases from the differences' measured deviations, float32[levels, G]."""
        index = (std.clamp_min(SCALE_MIN).log() - math.log(SCALE_MIN)) / SCALE_LOG_STEP
        with torch.no_grad():
            self.last_bias[:, self.outputs :] = index / 8

    def forward(self, surroundings: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        x = quantised_relu(self.first(surroundings) + self.first_bias[levels][:, :, None, None])
        x = quantised_relu(self.second(x))
        x = (self.last(x) + self.last_bias[levels][:, :, None, None])[:, :, 0, 0]
        means, indexes = x.split(self.outputs, 1)
        return means, indexes * 8


class TemporalNetwork(nn.Module):
    """The networks of all groups, and which channels those are."""

    def __init__(self, groups: list[list[int]], levels: int) -> None:
        super().__init__()
        self.groups = groups
        channels = sum(map(len, groups))
        known = 0
        networks = []
        for group in groups:
            networks.append(GroupNetwork(channels + 1 + known, len(group), levels))
            known += len(group)
        self.networks = nn.ModuleList(networks)

    def forward(self, surroundings: Tensor, differences: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scale indexes of all channels, in the groups' order, [A, M] each.

        Args:
            surroundings: float32[A, M + 1, 3, 3], reference and map; differences: float32[A, M, 3, 3], clipped, in the
                groups' order; each network sees those of the groups before its own.
        """
        means, indexes = [], []
        known = 0
        for group, network in zip(self.groups, self.networks, strict=True):
            mean, index = network(torch.cat((surroundings, differences[:, :known]), 1), levels)
            means.append(mean)
            indexes.append(index)
            known += len(group)
        return torch.cat(means, 1), torch.cat(indexes, 1)


def channel_groups(energy: Tensor) -> list[list[int]]:
    """The channels by falling energy, float32[M], in groups."""
    order = torch.argsort(energy, descending=True).tolist()
    ends = [round(len(order) * share) for share in GROUP_SHARES]
    return [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class DifferenceBits(nn.Module):
    """Bits of whole numbers under Laplacians of the given means and scale indexes, integrated over unit bins.

    Differences are mostly 0 and now and then large, which a Laplacian's peak and tails fit better than a Gaussian's.
    """

    def __init__(self) -> None:
        super().__init__()
        # These bounds let a gradient through when it would pull the value back inside.
        self.index_bound = LowerBound(0.0)
        self.likelihood_bound = LowerBound(1e-9)

    def forward(self, values: Tensor, means: Tensor, indexes: Tensor) -> Tensor:
        """float32 of one shape each -> bits of each value."""
        index = self.index_bound(indexes).clamp_max(SCALE_COUNT - 1)
        inverse = torch.exp(-(math.log(SCALE_MIN) + index * SCALE_LOG_STEP)) * math.sqrt(2)
        distance = (values - means).abs()
        far = torch.exp(-(distance + 0.5) * inverse)
        # Beyond half a unit both edges of the bin lie on one side of the peak; within it they straddle it.
        outside = torch.exp(-(distance - 0.5).clamp_min(0) * inverse) - far
        across = 2 - torch.exp(-(0.5 - distance).clamp_min(0) * inverse) - far
        likelihood = 0.5 * torch.where(distance >= 0.5, outside, across)
        return -torch.log2(self.likelihood_bound(likelihood))
