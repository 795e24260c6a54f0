"""How much of the codec's periodic pattern a decoded picture carries, as a term of a loss.

The same measure as ``icm_train.evaluation.checkerboard``, of each quality level against the originals, with gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icm_train.evaluation.checkerboard import LEAST_VARIANCE, LUMA, PATCH, RING, STRIDES, harmonics

SMALLEST_SIDE = max(PATCH.values())
"""Pixels; a smaller picture holds no patch."""
_FLOOR = 1e-3
"""Added to powers: far below what a photo has anywhere, so that no logarithm runs away."""


class PatternExcess:
    """What the score of decoded pictures exceeds that of their originals by, over the crops of several steps.

    The score of one crop of 128 pixels is off by several dB by chance, either way, and a term that takes only what is
    above zero then mostly asks for less detail. So spectra are averaged over steps before they are scored. The gradient
    of a step is the one that its crops would have if their mean were that average.
    """

    def __init__(self, memory: float) -> None:
        """Begins with no spectra.

        Args:
            memory: share of the average that a step leaves as it was, 0 to below 1; at 0 each step is on its own.
        """
        self._memory, self._steps = memory, 0
        self._averages: dict[tuple[str, int], Tensor] = {}

    def __call__(self, restored: Tensor, image: Tensor, levels: int) -> Tensor:
        """Mean over the strides of the square of the excess, dB^2, by quality level.

        Args:
            restored: float32[N * levels, 3, H, W] in 0..1, sides of at least 128, the quality levels in turn.
            image: float32[N * levels, 3, H, W], their originals.
            levels: how many quality levels there are.

        Returns:
            float32[levels]; 0 where no stride's score is above the originals'.
        """
        decoded, original = (
            {size: self._averaged(name, size, _spectrum(pictures, size), levels) for size in set(PATCH.values())}
            for name, pictures in (("decoded", restored), ("original", image))
        )
        self._steps += 1
        excess = torch.stack(
            [_score(decoded[PATCH[stride]], stride) - _score(original[PATCH[stride]], stride) for stride in STRIDES]
        )
        mean: Tensor = excess.clamp_min(0).square().mean(0)
        return mean

    def _averaged(self, name: str, size: int, power: Tensor, levels: int) -> Tensor:
        now = power.view(-1, levels, size, size).mean(0)
        earlier = self._averages.get((name, size), now.detach())
        # An average of few steps is the plain one, not mostly the first.
        share = max(1 - self._memory, 1 / (self._steps + 1))
        self._averages[name, size] = earlier.lerp(now.detach(), share)
        return self._averages[name, size] + (now - now.detach())


def scores(image: Tensor) -> dict[int, Tensor]:
    """The score of every stride, of each picture of float32[B, 3, H, W]: float32[B], dB."""
    spectra = {size: _spectrum(image, size) for size in set(PATCH.values())}
    return {stride: _score(spectra[PATCH[stride]], stride) for stride in STRIDES}


def _spectrum(image: Tensor, size: int) -> Tensor:
    """Mean power spectra of half-overlapping Hann-windowed patches of unit variance: float32[B, size, size]."""
    luma = (255 * image.float() * torch.tensor(LUMA, dtype=torch.float32, device=image.device)[:, None, None]).sum(1)
    patches = luma.unfold(1, size, size // 2).unfold(2, size, size // 2).flatten(1, 2)
    variance = patches.detach().var((2, 3), keepdim=True).clamp_min(LEAST_VARIANCE)
    centred = (patches - patches.mean((2, 3), keepdim=True)) / variance.sqrt()
    window = torch.hann_window(size, device=image.device)
    spectra = torch.fft.fft2(centred * torch.outer(window, window))
    power: Tensor = (spectra.real.square() + spectra.imag.square()).mean(1)
    return power


def _score(power: Tensor, stride: int) -> Tensor:
    """Of float32[B, size, size], in dB: float32[B]."""
    size = power.shape[-1]
    found = []
    for a, b in harmonics(stride):
        y, x = a * size // stride, b * size // stride
        around = torch.stack([power[:, (y + dy) % size, (x + dx) % size] for dy, dx in RING]).quantile(0.5, 0)
        found.append(10 * torch.log10((power[:, y, x] + _FLOOR) / (around + _FLOOR)))
    return torch.stack(found).mean(0)
