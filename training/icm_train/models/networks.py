"""The transforms of the codec: analysis g_a, synthesis g_s and hyper-analysis h_a, as icm-1 has them.

Both transforms start as a 16x16 block DCT in luma/chroma, carried by one strided linear map, and learn a
residual branch beside it. The branch ends in zeros, so an untrained codec is a plain block-transform codec.
``gated_networks.py`` has the branches that newer codecs use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm.codec.latents.latents import STRIDE


@dataclass(frozen=True)
class NetworkConfig:
    """Widths and depths of the networks; everything else about them is fixed.

    Attributes:
        luma: DCT coefficients kept of the luma plane at the start.
        chroma: DCT coefficients kept of each chroma plane at the start; the latent has ``luma + 2 * chroma`` channels.
        encoder_wide: channels of g_a's branch at stride 8.
        encoder_deep: channels of g_a's branch at stride 16.
        decoder_deep: channels of g_s at stride 16.
        decoder_wide: channels of g_s at stride 8.
        decoder_fine: channels of g_s at stride 4.
        hyper: channels of the hyper-latent.
        hyper_hidden: channels inside h_a and h_s.
        lambdas: rate-distortion weight of each quality level, for an MSE on the 0..255 scale.
        blocks: what the transforms' branches are made of: "residual", two 3x3 convolutions around a ReLU, one or two
            blocks a scale (icm-1); or "gated", depthwise and 1x1 convolutions around a gate, more blocks a scale.
        encoder_wide_blocks: gated blocks at this scale; residual ones ignore it.
        encoder_deep_blocks: likewise.
        decoder_deep_blocks: likewise.
        decoder_wide_blocks: likewise.
        decoder_fine_blocks: likewise.
        likelihood: shape of a latent's distribution in training: "gaussian", or "mixture" (``MixtureBits``); the tables
            that ship are counted.
        level_scales: whether gated branches have a scale and a shift per channel and quality level, so that they know
            the level; residual ones never do.
    """

    luma: int = 128
    chroma: int = 32
    encoder_wide: int = 128
    encoder_deep: int = 192
    decoder_deep: int = 256
    decoder_wide: int = 128
    decoder_fine: int = 64
    hyper: int = 64
    hyper_hidden: int = 96
    lambdas: tuple[float, ...] = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
    blocks: Literal["residual", "gated"] = "residual"
    encoder_wide_blocks: int = 5
    encoder_deep_blocks: int = 3
    decoder_deep_blocks: int = 3
    decoder_wide_blocks: int = 8
    decoder_fine_blocks: int = 2
    level_scales: bool = True
    likelihood: Literal["gaussian", "mixture"] = "gaussian"

    @property
    def knows_level(self) -> bool:
        """Whether the transforms are told the quality level."""
        return self.blocks == "gated" and self.level_scales

    @property
    def latents(self) -> int:
        return self.luma + 2 * self.chroma


def network_of(stored: dict[str, Any]) -> NetworkConfig:
    """The config that was stored as JSON or in a checkpoint; what it does not say yet has its default."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
    return NetworkConfig(**fields)


def dct_basis(size: int) -> Tensor:
    """Orthonormal DCT-II matrix, rows are frequencies: float32[size, size]."""
    k = torch.arange(size, dtype=torch.float64)[:, None]
    n = torch.arange(size, dtype=torch.float64)[None, :]
    basis = torch.cos(math.pi * (2 * n + 1) * k / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.float()


def block_dct_filters(luma: int, chroma: int) -> Tensor:
    """The lowest frequencies of an orthonormal 16x16 DCT in an orthonormal luma/chroma space.

    Returns:
        float32[luma + 2 * chroma, 3, 16, 16]; the rows are orthonormal, so the transpose is the inverse.
    """
    basis = dct_basis(STRIDE)
    order = sorted(
        ((u, v) for u in range(STRIDE) for v in range(STRIDE)),
        key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv[0]),
    )
    planes = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
    planes = planes / planes.norm(dim=1, keepdim=True)
    filters = []
    for plane, count in zip(planes, (luma, chroma, chroma), strict=True):
        for u, v in order[:count]:
            filters.append(plane[:, None, None] * torch.outer(basis[u], basis[v])[None])
    return torch.stack(filters)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a ReLU, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.second(F.relu(self.first(x)))
        return y


class AnalysisTransform(nn.Module):
    """g_a: image float32[B, 3, H, W] in 0..1, H and W multiples of 16 -> latents float32[B, M, H/16, W/16].

    The same at every level, so ``levels`` goes unread. About 8.7 kMAC per pixel at the default widths.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        wide, deep = config.encoder_wide, config.encoder_deep
        self.linear = nn.Conv2d(3, config.latents, STRIDE, STRIDE, bias=False)
        self.into = nn.Conv2d(3, wide, 8, 8)
        self.block_wide = ResidualBlock(wide)
        self.down = nn.Conv2d(wide, deep, 2, 2)
        self.block_deep = ResidualBlock(deep)
        self.out = nn.Conv2d(deep, config.latents, 1)
        with torch.no_grad():
            self.linear.weight.copy_(block_dct_filters(config.luma, config.chroma))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(_bias(self.out))

    def forward(self, image: Tensor, levels: Tensor | None = None) -> Tensor:
        centred = image - 0.5
        with torch.autocast(image.device.type, enabled=False):
            base = self.linear(centred)
        x = F.relu(self.into(centred * 4))
        x = self.block_wide(x)
        x = F.relu(self.down(x))
        x = self.block_deep(x)
        y: Tensor = 255 * (base + self.out(x).float())
        return y


class SynthesisTransform(nn.Module):
    """g_s: latents float32[B, M, h, w] in g_a's units -> image float32[B, 3, 16h, 16w], about 0..1, not clamped.

    The same at every level, so ``levels`` goes unread. About 20 kMAC per pixel at the default widths. ``entry`` and
    ``block_deep`` are the first two layers, the ones that adversarial finetuning moves.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        deep, wide, fine = config.decoder_deep, config.decoder_wide, config.decoder_fine
        self.entry = nn.Conv2d(config.latents, deep, 1)
        self.block_deep = ResidualBlock(deep)
        self.up_wide = nn.Conv2d(deep, wide * 4, 1)
        self.block_wide = ResidualBlock(wide)
        self.block_wide2 = ResidualBlock(wide)
        self.up_fine = nn.Conv2d(wide, 48 * 4, 1)
        self.linear = nn.Conv2d(config.latents, 3 * STRIDE * STRIDE, 1, bias=False)
        self.mix = nn.Conv2d(48 + 48, fine, 3, padding=1)
        self.out = nn.Conv2d(fine, 48, 3, padding=1)
        filters = block_dct_filters(config.luma, config.chroma).flatten(1)
        with torch.no_grad():
            self.linear.weight.copy_(filters.t()[:, :, None, None])
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(_bias(self.out))

    def forward(self, latents: Tensor, levels: Tensor | None = None) -> Tensor:
        with torch.autocast(latents.device.type, enabled=False):
            base = F.pixel_shuffle(self.linear(latents.float() / 255), STRIDE)
        x = self.entry(latents / 64)
        x = self.block_deep(x)
        x = F.relu(F.pixel_shuffle(self.up_wide(x), 2))
        x = self.block_wide2(self.block_wide(x))
        x = F.relu(F.pixel_shuffle(self.up_fine(x), 2))
        x = torch.cat((x, 4 * F.pixel_unshuffle(base, 4).to(x.dtype)), 1)
        x = self.out(F.relu(self.mix(x)))
        image: Tensor = base + 0.5 + 0.2 * F.pixel_shuffle(x.float(), 4)
        return image


class HyperAnalysis(nn.Module):
    """h_a: integer latents as float32[B, M, h, w] -> hyper-latents float32[B, N, ceil(h/4), ceil(w/4)], not rounded."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden = config.hyper_hidden
        self.first = nn.Conv2d(config.latents, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, 2, padding=1)
        self.third = nn.Conv2d(hidden, config.hyper, 3, 2, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        x = torch.asinh(latents)
        x = F.relu(self.first(x))
        x = F.relu(self.second(x))
        z: Tensor = 4 * self.third(x)
        return z


class Gains(nn.Module):
    """One gain per quality level and latent channel, and its decoder-side counterpart (Cui et al., gain units).

    ``scale(level)`` multiplies latents before rounding, ``unscale(level)`` multiplies integers after it. Levels may
    be fractional: the logarithms are interpolated.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        # Entropy-constrained uniform quantisation at high rate: step^2 = 18 / (lambda ln 2), three planes sharing D.
        steps = torch.tensor([math.sqrt(18 / (lam * math.log(2))) for lam in config.lambdas])
        log_gain = -steps.log()[:, None].repeat(1, config.latents)
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_ungain = nn.Parameter(-log_gain.clone())

    def scale(self, levels: Tensor) -> Tensor:
        """levels int64[B] -> float32[B, M, 1, 1]."""
        return self.log_gain[levels].exp()[:, :, None, None]

    def unscale(self, levels: Tensor) -> Tensor:
        """levels int64[B] -> float32[B, M, 1, 1]."""
        return self.log_ungain[levels].exp()[:, :, None, None]


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
