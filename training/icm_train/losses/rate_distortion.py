"""What the stages minimise."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from icm_train.models.codec import CodecOutput

AreaMode = Literal["pixel", "mask"]
ErrorMeasure = Literal["squared", "visible"]

_SCALES = ((1, 1.0), (2, 1.0), (4, 2.0))
"""By how much a picture is reduced, and what the error there counts: a coarse error counts at every scale."""
_FLAT = 25.0
"""Variance of the luma, on the 0..255 scale, from which on detail begins to hide errors."""
_NEIGHBOURHOOD = 7
"""Pixels, the side of the square that a variance is taken over."""
VISIBLE_SCALE = 9.0
"""By how much the squared error of decoded photos is larger than the visible one, about."""


def bits_per_pixel(output: CodecOutput) -> Tensor:
    """float32[B]."""
    pixels = output.image.shape[-1] * output.image.shape[-2]
    return (output.latent_bits + output.hyper_bits) / pixels


def squared_error(restored: Tensor, image: Tensor) -> Tensor:
    """Mean over the planes on the 0..255 scale: float32[B, 3, H, W] twice -> float32[B, H, W]."""
    return (restored - image).square().mean(1) * 255**2


def visible_error(restored: Tensor, image: Tensor) -> Tensor:
    """Squared error as far as the picture around it does not hide it, over three scales.

    An error counts less by the square root of the variance around it, and more the coarser it is: about what the
    "visual quality" tunings of video encoders do. A network that finds things, like an eye, reads contrast against
    what surrounds it; plain MSE spends the bits on texture and lets faint outlines go.

    Args:
        restored: float32[B, 3, H, W], 0..1, H and W multiples of 4.
        image: float32[B, 3, H, W], 0..1, H and W multiples of 4.

    Returns:
        float32[B, H, W], on the scale of ``squared_error`` in a flat surrounding.
    """
    total = restored.new_zeros(())
    weights = sum(weight for _, weight in _SCALES)
    for scale, weight in _SCALES:
        small, wanted = F.avg_pool2d(restored, scale), F.avg_pool2d(image, scale)
        hidden = (1 + _variance(wanted.mean(1, keepdim=True) * 255) / _FLAT).rsqrt()
        error = squared_error(small, wanted)[:, None] * hidden
        total = total + weight / weights * F.interpolate(error, scale_factor=float(scale))[:, 0]
    return total


def _variance(plane: Tensor) -> Tensor:
    """Of each pixel's neighbourhood, cut off at the edges: float32[B, 1, H, W] -> the same shape."""

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2, count_include_pad=False)

    return (mean(plane.square()) - mean(plane).square()).clamp_min(0)


def object_mse(
    restored: Tensor, image: Tensor, mask: Tensor, background: float, area: AreaMode, measure: ErrorMeasure = "squared"
) -> Tensor:
    """Object-MSE, float32[B]: the distortion counts inside object masks (Shindo et al. 2023, section III).

    Args:
        restored: float32[B, 3, H, W], 0..1.
        image: float32[B, 3, H, W], 0..1.
        measure: what the distortion of a pixel is: the paper's squared error, or ``visible_error``.
        mask: float32[B, H, W], 1 on objects, 0 elsewhere. Known in training only.
        background: weight of a pixel outside all masks, 0..1; the paper's is 0.
        area: "pixel" takes the mean over all pixels, so that a picture's distortion grows with the area of its objects;
            "mask" takes the mean over the weights, so that small objects count like large ones.
    """
    weight = mask + background * (1 - mask)
    pixels = squared_error(restored, image) if measure == "squared" else visible_error(restored, image)
    error = (weight * pixels).sum((1, 2))
    if area == "pixel":
        return error / weight[0].numel()
    return error / weight.sum((1, 2)).clamp_min(1.0)


def grown(mask: Tensor, margin: int) -> Tensor:
    """Masks float32[B, H, W] with every object ``margin`` pixels larger on all sides (a square neighbourhood)."""
    side = 2 * margin + 1
    rows = F.max_pool2d(mask[:, None], (side, 1), 1, (margin, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, margin))[:, 0]
