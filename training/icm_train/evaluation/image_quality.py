"""How much a decoded picture is like its original: pixel by pixel, by structure, and as a network sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim
from torch import Tensor

from icm_train.models.features import FrozenFeatures

SMALLEST_SIDE = 161
"""Pixels; MS-SSIM halves a picture four times and looks at it through a window of 11."""


@dataclass(frozen=True)
class Region:
    """Squared error of some pixels: the sum over them and their three channels, and how many values that is."""

    error: float
    values: int

    def __add__(self, other: Region) -> Region:
        return Region(self.error + other.error, self.values + other.values)

    @property
    def psnr(self) -> float:
        """dB, infinite without error; NaN of no pixels."""
        if not self.values:
            return float("nan")
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(np.float64(255**2 * self.values) / self.error))


@dataclass(frozen=True)
class ImageQuality:
    """Of one picture.

    Attributes:
        whole: of all pixels.
        objects: of the pixels in its mask, None for a picture without one.
        background: of the pixels outside its mask, None for a picture without one.
        ms_ssim: 0..1, 1 for equal pictures.
        perceptual: distance in features of a frozen network, as LPIPS; 0 for equal pictures.
    """

    whole: Region
    objects: Region | None
    background: Region | None
    ms_ssim: float
    perceptual: float


def image_quality(
    original: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    features: FrozenFeatures,
) -> ImageQuality:
    """Measures a decoded picture.

    Args:
        original: uint8[H, W, 3] RGB, sides of at least 161 pixels.
        decoded: uint8[H, W, 3] RGB, sides of at least 161 pixels.
        mask: bool[H, W], true on objects.
        features: the network of the perceptual distance.
    """
    error = np.square(decoded.astype(np.float64) - original).sum(2)
    objects, background = (None, None) if mask is None else (_region(error[mask]), _region(error[~mask]))
    with torch.inference_mode():
        first, second = _tensor(original), _tensor(decoded)
        structure = float(ms_ssim(second, first, data_range=255))
        distance = float(features(second / 255, first / 255))
    return ImageQuality(_region(error), objects, background, structure, distance)


def _region(error: NDArray[np.float64]) -> Region:
    return Region(float(error.sum()), 3 * error.size)


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    """uint8[H, W, 3] -> float32[1, 3, H, W], 0..255."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None]
