"""The temporal entropy model while it is trained.

One network per group of channels; ``icm.codec.payload.inter`` says what they see and what they predict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from compressai.ops import LowerBound
from torch import Tensor, nn

from icm.codec.entropy.integer_network import SCALE_COUNT
from icm.codec.entropy.residuals import ChannelGroups, input_size
from icm.codec.motion.model import FLAGS
from icm_train.integer.grid import SCALE_LOG_STEP, SCALE_MIN
from icm_train.integer.pointwise_network import PointwiseNetwork

GROUP_SHARES = (1 / 8, 1)
"""Shares of the channels, by falling energy, after which the groups end. Four groups, which knew more of each other,
took 3 % fewer bits and half as long again."""


class TemporalNetwork(nn.Module):
    """The networks of all groups, and which channels those are."""

    def __init__(self, groups: list[list[int]], levels: int) -> None:
        super().__init__()
        self.groups = groups
        channels = ChannelGroups(groups)
        self.networks = nn.ModuleList(
            PointwiseNetwork(
                input_size(len(channels.order), channels.wide, group.start, FLAGS), group.stop - group.start, levels
            )
            for group in channels.slices
        )

    def forward(self, seen: list[Tensor], levels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scale indexes of all channels, in the groups' order, [A, M] each.

        Args:
            seen: what the network of each group sees, float32[A, K].
            levels: int64[A].
        """
        said = [network(columns, levels) for network, columns in zip(self.networks, seen, strict=True)]
        return torch.cat([means for means, _ in said], 1), torch.cat([indexes for _, indexes in said], 1)


def channel_groups(energy: Tensor, shares: Sequence[float]) -> list[list[int]]:
    """The channels by falling energy, float32[M], in groups that end after these shares of them."""
    order = torch.argsort(energy, descending=True).tolist()
    ends = [round(len(order) * share) for share in shares]
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
