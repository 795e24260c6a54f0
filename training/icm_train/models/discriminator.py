"""The opponent of adversarial decoder finetuning: a PatchGAN that tells patches of photos from coded ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from icm.codec.latents.latents import STRIDE
from icm.errors import ConfigError

DiscriminatorLoss = Literal["bce", "lsgan", "hinge"]


class PatchDiscriminator(nn.Module):
    """Patches float32[B, 3, S, S] in 0..1, S a multiple of 16 -> a score for each 8x8 pixels, float[B, 1, S/8, S/8].

    High scores mean a photo. A score sees 38x38 pixels, so two periods of the codec's 16-pixel pattern lie within.
    Spectral normalisation (Miyato et al. 2018) keeps its gradients bounded. About 17 kMAC per pixel, in training only.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        widths = (3, channels, 2 * channels, 4 * channels)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(narrow, wide, 4, 2, padding=1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def forward(self, patches: Tensor) -> Tensor:
        scores: Tensor = self.layers(2 * patches - 1)
        return scores


def cut_patches(images: tuple[Tensor, ...], size: int, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The same random patches of several batches of pictures, on the codec's 16-pixel grid and no two alike.

    On the grid the pattern has the same phase in every patch, so that the discriminator can learn it.

    Args:
        images: float32[B, 3, H, W] each, all of one shape, H and W multiples of 16.
        size: side of a patch in pixels.
        count: patches of each picture.
        generator: on the CPU.

    Returns:
        for each of ``images`` float32[B * count, 3, size, size].

    Raises:
        ConfigError: the pictures are too small for so many patches.
    """
    height, width = images[0].shape[-2:]
    rows, columns = (max(0, (side - size) // STRIDE + 1) for side in (height, width))
    if rows * columns < count:
        raise ConfigError(f"pictures of {width}x{height} hold no {count} patches of {size} px: choose a larger crop")
    places = [
        (batch, STRIDE * (place // columns), STRIDE * (place % columns))
        for batch in range(images[0].shape[0])
        for place in torch.randperm(rows * columns, generator=generator)[:count].tolist()
    ]
    return tuple(torch.stack([image[b, :, y : y + size, x : x + size] for b, y, x in places]) for image in images)


def discrimination_loss(kind: DiscriminatorLoss, photo: Tensor, coded: Tensor) -> Tensor:
    """What the discriminator minimises, a scalar; ``photo`` and ``coded`` are its scores of both, of any shape."""
    photo, coded = photo.float(), coded.float()
    if kind == "bce":
        return F.softplus(-photo).mean() + F.softplus(coded).mean()
    if kind == "lsgan":
        return (photo - 1).square().mean() + coded.square().mean()
    return F.relu(1 - photo).mean() + F.relu(1 + coded).mean()


def deception_loss(kind: DiscriminatorLoss, coded: Tensor) -> Tensor:
    """What the decoder minimises, a scalar: that the scores of coded patches are those of photos."""
    coded = coded.float()
    if kind == "bce":
        return F.softplus(-coded).mean()
    if kind == "lsgan":
        return (coded - 1).square().mean()
    return -coded.mean()
