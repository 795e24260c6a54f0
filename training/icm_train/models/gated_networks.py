"""The transforms of newer codecs: many light gated blocks beside the linear path, which know the quality level.

A block mixes each channel with its 3x3 surroundings (depthwise), then all channels of a position (1x1), then gates
one half of what it has made with the other. The gate is bounded: with ReLU(a) * b a block squares what is large, a
dozen blocks in a row did so until a rare picture's pixels were 10^13 and the next one's not finite. A clipped ReLU
costs what a plain one does, since ONNX Runtime computes it within the convolution before it. The linear path starts as
a block DCT and stays: motion compensation predicts through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.sparse.gated_block import GATE_MAX
from icm_train.models.networks import block_dct_filters

if TYPE_CHECKING:
    from icm_train.models.networks import NetworkConfig

_LEARNED = 48
"""Channels that the branch of g_s hands to its last layers, beside as many pixels of the linear path."""


class GatedBlock(nn.Module):
    """x + scale * out(clip(gate(m), 0, 2) * value(m)), m the depthwise mix of x, or x: [B, C, h, w] -> the same.

    3 C^2 (+ 9 C) multiplications a position.
    """

    def __init__(self, channels: int, *, mixes: bool) -> None:
        """Creates a block that keeps the number of channels.

        Args:
            mixes: whether the block sees its 3x3 surroundings.
        """
        super().__init__()
        self.mix = _depthwise(channels) if mixes else nn.Identity()
        self.gate = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(x)
        y: Tensor = x + self.scale * self.out(F.hardtanh(self.gate(mixed), 0.0, GATE_MAX) * self.value(mixed))
        return y


class LevelScale(nn.Module):
    """A scale and a shift of each channel, one pair a quality level: it tells a network at which level it works.

    Between two levels the logarithms of the scales, and the shifts, are interpolated.
    """

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(levels, channels))
        self.shift = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, x: Tensor, levels: Tensor) -> Tensor:
        """x [B, C, h, w]; levels float32[B, levels], the share of each whole level -> x's shape and dtype."""
        with torch.autocast(x.device.type, enabled=False):
            scale = (levels @ self.log_scale).exp()[:, :, None, None]
            shift = (levels @ self.shift)[:, :, None, None]
        y: Tensor = x * scale.to(x.dtype) + shift.to(x.dtype)
        return y


class GatedAnalysis(nn.Module):
    """g_a: image float32[B, 3, H, W] in 0..1, H and W multiples of 16 -> latents float32[B, M, H/16, W/16].

    10.6 kMAC per pixel with 5 blocks of 160 and 3 of 256 channels. A position's latents see 56 pixels beyond its block.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        wide, deep, levels = config.encoder_wide, config.encoder_deep, len(config.lambdas)
        self.linear = nn.Conv2d(3, config.latents, STRIDE, STRIDE, bias=False)
        self.into = nn.Conv2d(3, wide, 8, 8)
        self.blocks_wide = nn.ModuleList(GatedBlock(wide, mixes=True) for _ in range(config.encoder_wide_blocks))
        self.down = nn.Conv2d(wide, deep, 2, 2)
        self.blocks_deep = nn.ModuleList(GatedBlock(deep, mixes=n == 0) for n in range(config.encoder_deep_blocks))
        self.out = nn.Conv2d(deep, config.latents, 1)
        self.level_wide = LevelScale(levels, wide) if config.level_scales else None
        self.level_deep = LevelScale(levels, deep) if config.level_scales else None
        with torch.no_grad():
            self.linear.weight.copy_(block_dct_filters(config.luma, config.chroma))
        _silence(self.out)

    def forward(self, image: Tensor, levels: Tensor) -> Tensor:
        """levels: float32[B, levels], the share of each whole level."""
        centred = image - 0.5
        with torch.autocast(image.device.type, enabled=False):
            base = self.linear(centred)
        x = _told(self.level_wide, self.into(centred * 4), levels)
        for block in self.blocks_wide:
            x = block(x)
        x = _told(self.level_deep, self.down(x), levels)
        for block in self.blocks_deep:
            x = block(x)
        y: Tensor = 255 * (base + self.out(x).float())
        return y


class GatedSynthesis(nn.Module):
    """g_s: latents float32[B, M, h, w] in g_a's units -> image float32[B, 3, 16h, 16w], about 0..1, not clamped.

    21.6 kMAC per pixel with 3 blocks of 320, 8 of 176 and 2 of 64 channels. A pixel sees 72 pixels beyond its block.
    ``entry`` and the first block are the first two layers, the ones that adversarial finetuning moves.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        deep, wide, fine = config.decoder_deep, config.decoder_wide, config.decoder_fine
        levels = len(config.lambdas)
        self.entry = nn.Conv2d(config.latents, deep, 1)
        self.blocks_deep = nn.ModuleList(GatedBlock(deep, mixes=n == 0) for n in range(config.decoder_deep_blocks))
        self.up_wide = nn.Conv2d(deep, wide * 4, 1)
        # Every fourth block sees no surroundings: a changed latent must not reach too far.
        self.blocks_wide = nn.ModuleList(GatedBlock(wide, mixes=n % 4 != 3) for n in range(config.decoder_wide_blocks))
        self.up_fine = nn.Conv2d(wide, _LEARNED * 4, 1)
        self.linear = nn.Conv2d(config.latents, 3 * STRIDE * STRIDE, 1, bias=False)
        self.mix = nn.Conv2d(_LEARNED + 48, fine, 1)
        self.blocks_fine = nn.ModuleList(GatedBlock(fine, mixes=True) for _ in range(config.decoder_fine_blocks))
        self.out = nn.Conv2d(fine, 48, 3, padding=1)
        self.level_deep = LevelScale(levels, deep) if config.level_scales else None
        self.level_wide = LevelScale(levels, wide) if config.level_scales else None
        self.level_fine = LevelScale(levels, fine) if config.level_scales else None
        filters = block_dct_filters(config.luma, config.chroma).flatten(1)
        with torch.no_grad():
            self.linear.weight.copy_(filters.t()[:, :, None, None])
        _silence(self.out)

    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """levels: float32[B, levels], the share of each whole level."""
        with torch.autocast(latents.device.type, enabled=False):
            base = F.pixel_shuffle(self.linear(latents.float() / 255), STRIDE)
        x = _told(self.level_deep, self.entry(latents / 64), levels)
        for block in self.blocks_deep:
            x = block(x)
        x = _told(self.level_wide, F.pixel_shuffle(self.up_wide(x), 2), levels)
        for block in self.blocks_wide:
            x = block(x)
        x = F.pixel_shuffle(self.up_fine(x), 2)
        x = self.mix(torch.cat((x, 4 * F.pixel_unshuffle(base, 4).to(x.dtype)), 1))
        x = _told(self.level_fine, x, levels)
        for block in self.blocks_fine:
            x = block(x)
        image: Tensor = base + 0.5 + 0.2 * F.pixel_shuffle(self.out(x).float(), 4)
        return image


def _depthwise(channels: int) -> nn.Conv2d:
    """A 3x3 convolution of each channel by itself that starts as its own input with a little of what is around it."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    with torch.no_grad():
        layer.weight.mul_(0.5)
        layer.weight[:, 0, 1, 1] += 1
    return layer


def _told(level: LevelScale | None, x: Tensor, levels: Tensor) -> Tensor:
    return x if level is None else level(x, levels)


def _silence(layer: nn.Conv2d) -> None:
    """The branch that ends in this layer adds nothing until it is trained."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
