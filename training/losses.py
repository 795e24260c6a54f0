"""What the stages minimise."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from training.model import CodecOutput

AreaMode = Literal["pixel", "mask"]


def bits_per_pixel(output: CodecOutput) -> Tensor:
    """float32[B]."""
    pixels = output.image.shape[-1] * output.image.shape[-2]
    return (output.latent_bits + output.hyper_bits) / pixels


def squared_error(restored: Tensor, image: Tensor) -> Tensor:
    """Mean over the planes on the 0..255 scale: float32[B, 3, H, W] twice -> float32[B, H, W]."""
    return (restored - image).square().mean(1) * 255**2


def object_mse(restored: Tensor, image: Tensor, mask: Tensor, background: float, area: AreaMode) -> Tensor:
    """Object-MSE, float32[B]: the distortion counts inside object masks (Shindo et al. 2023, section III).

    Args:
        restored, image: float32[B, 3, H, W], 0..1.
        mask: float32[B, H, W], 1 on objects, 0 elsewhere. Known in training only.
        background: weight of a pixel outside all masks, 0..1; the paper's is 0.
        area: "pixel" takes the mean over all pixels, so that a picture's distortion grows with the area of its objects;
            "mask" takes the mean over the weights, so that small objects count like large ones.
    """
    weight = mask + background * (1 - mask)
    error = (weight * squared_error(restored, image)).sum((1, 2))
    if area == "pixel":
        return error / weight[0].numel()
    return error / weight.sum((1, 2)).clamp_min(1.0)
