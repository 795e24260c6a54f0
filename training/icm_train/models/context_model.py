"""The context model while it is trained.

One network per group of channels and phase; ``icm.codec.entropy.context`` says what they see and what they say.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm.codec.entropy.context import PHASES, input_size
from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.entropy.neighbourhood import BIT_LENGTH_MAX, INPUT_MAX
from icm_train.integer.grid import round_ste
from icm_train.integer.pointwise_network import PointwiseNetwork


class ContextNetworks(nn.Module):
    """The networks of all groups and phases, and which channels the groups are."""

    def __init__(self, groups: list[list[int]], levels: int) -> None:
        super().__init__()
        self.groups = groups
        known = 0
        networks = []
        for group in groups:
            networks += [
                PointwiseNetwork(input_size(known + phase * len(group), len(group)), len(group), levels)
                for phase in range(PHASES)
            ]
            known += len(group)
        self.networks = nn.ModuleList(networks)

    def forward(self, latents: Tensor, means: Tensor, indexes: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Means in 1/8 and scale indexes of all latents, not rounded, from what the hyper-latents say about them.

        Args:
            latents: whole numbers, float32[B, M, h, w].
            means: whole numbers, in 1/8, float32[B, M, h, w].
            indexes: whole numbers, float32[B, M, h, w].
            levels: int64[B].
        """
        order = torch.tensor([channel for group in self.groups for channel in group], device=latents.device)
        rows, columns = latents.shape[2:]
        parity = (torch.arange(rows)[:, None] + torch.arange(columns)) % 2
        first = (parity == 0).to(latents.device)
        expected = torch.floor((means + MEAN_STEPS // 2) / MEAN_STEPS)
        residuals = (latents - expected)[:, order]
        all_around, half_around = _surroundings(residuals), _surroundings(residuals * first)
        whole = expected[:, order].clamp(-INPUT_MAX, INPUT_MAX)
        known = 0
        corrected_means, corrected_indexes = means.clone(), indexes.clone()
        for number, network in enumerate(self.networks):
            group = self.groups[number // PHASES]
            phase = number % PHASES
            own = slice(known, known + len(group))
            where = (first if phase == 0 else ~first).flatten().nonzero()[:, 0]
            parts = [all_around[0][:, :known], all_around[1][:, :known]]
            if phase:
                parts = [torch.cat((part, half[:, own]), 1) for part, half in zip(parts, half_around, strict=True)]
            seen = torch.cat(
                (
                    parts[0][..., where].flatten(1, 2),
                    parts[1][..., where],
                    whole[:, own].flatten(2)[..., where],
                    indexes[:, group].flatten(2)[..., where],
                ),
                1,
            )
            columns_of = seen.transpose(1, 2).flatten(0, 1)
            by_mean, by_index = network(columns_of, levels.repeat_interleave(len(where)))
            channels = torch.tensor(group, device=latents.device)[:, None]
            shape = (len(latents), len(where), len(group))
            for target, change in ((corrected_means, by_mean * MEAN_STEPS), (corrected_indexes, by_index)):
                flat = target.view(*target.shape[:2], -1)
                flat[:, channels, where] += change.view(shape).transpose(1, 2)
            if phase:
                known += len(group)
        return corrected_means, corrected_indexes.clamp_max(SCALE_COUNT - 1)


def _surroundings(residuals: Tensor) -> tuple[Tensor, Tensor]:
    """Of float32[B, M, h, w]: the 3x3 neighbourhoods [B, M, 9, h * w], and their summed bit lengths [B, M, h * w]."""
    batch, channels = residuals.shape[:2]
    clipped = residuals.clamp(-INPUT_MAX, INPUT_MAX)
    around = F.unfold(clipped, 3, padding=1).view(batch, channels, 9, -1)
    lengths = torch.frexp(residuals.abs()).exponent.clamp(0, BIT_LENGTH_MAX).float()
    sums = F.avg_pool2d(lengths, 3, 1, 1, divisor_override=1)
    return around, sums.flatten(2)


def rounded(means: Tensor, indexes: Tensor) -> tuple[Tensor, Tensor]:
    """Means in 1/8 and scale indexes as the integer network says them; gradients pass straight through."""
    return round_ste(means), round_ste(indexes)
