"""How much of the codec's periodic pattern a decoded picture carries, as a term of a loss.

The same measure as ``icm_train.evaluation.checkerboard``, of each picture against its own original, with gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icm_train.evaluation.checkerboard import LEAST_VARIANCE, LUMA, PATCH, RING, STRIDES, harmonics

SMALLEST_SIDE = max(PATCH.values())
"""Pixels; a smaller picture holds no patch."""
_FLOOR = 1e-3
"""Added to powers: far below what a photo has anywhere, so that no logarithm runs away."""


def pattern_excess(restored: Tensor, image: Tensor) -> Tensor:
    """Mean over the strides of the square of what the score of ``restored`` exceeds that of ``image`` by, dB^2.

    Args:
        restored: float32[B, 3, H, W] in 0..1, sides of at least 128.
        image: float32[B, 3, H, W] in 0..1, sides of at least 128.

    Returns:
        float32[B]; 0 where no stride's score is above the original's.
    """
    decoded, original = scores(restored), scores(image)
    excess = torch.stack([decoded[stride] - original[stride] for stride in STRIDES])
    mean: Tensor = excess.clamp_min(0).square().mean(0)
    return mean


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
