"""The whole codec as one trainable module."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.codec.latents import HYPER_MAX
from training.entropy_model import HyperPrior, HyperSynthesis, LatentBits, round_ste
from training.networks import AnalysisTransform, Gains, HyperAnalysis, NetworkConfig, SynthesisTransform

RateOn = Literal["noise", "rounded"]


@dataclass(frozen=True)
class CodecOutput:
    """What one training pass yields.

    Attributes:
        image: reconstruction, float32[B, 3, H, W], about 0..1, not clamped.
        latent_bits, hyper_bits: bits of each picture, float32[B].
    """

    image: Tensor
    latent_bits: Tensor
    hyper_bits: Tensor


class TrainableCodec(nn.Module):
    """Analysis, gains, entropy model and synthesis, with noise or straight-through rounding in place of coding."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = AnalysisTransform(config)
        self.synthesis = SynthesisTransform(config)
        self.hyper_analysis = HyperAnalysis(config)
        self.hyper_synthesis = HyperSynthesis(config)
        self.hyper_prior = HyperPrior(config.hyper)
        self.gains = Gains(config)
        self.latent_bits = LatentBits()

    def forward(
        self, image: Tensor, levels: Tensor, rate_on: RateOn = "noise", *, float32_synthesis: bool = False
    ) -> CodecOutput:
        """One training pass.

        Args:
            image: float32[B, 3, H, W] in 0..1, H and W multiples of 64.
            levels: int64[B].
            rate_on: what the rate is taken of: latents with uniform noise, which gives smooth gradients but up to
                twice the true rate where most latents are 0; or rounded ones with straight-through gradients, which
                gives the true rate.
            float32_synthesis: whether the synthesis computes in float32 under whatever autocast.
        """
        latents = self.analysis(image) * self.gains.scale(levels)
        hyper = self.hyper_analysis(latents).float().clamp(-HYPER_MAX, HYPER_MAX)
        hyper_bits = self.hyper_prior(hyper)
        means, indexes = self.hyper_synthesis(round_ste(hyper), levels)
        rounded = round_ste(latents)
        coded = rounded if rate_on == "rounded" else latents + torch.rand_like(latents) - 0.5
        latent_bits = self.latent_bits(coded, means.float(), indexes.float())
        unscaled = rounded * self.gains.unscale(levels)
        with torch.autocast(image.device.type, enabled=False) if float32_synthesis else nullcontext():
            restored = self.synthesis(unscaled)
        return CodecOutput(restored, latent_bits.sum((1, 2, 3)), hyper_bits.sum((1, 2, 3)))

    @torch.no_grad()
    def start_from(self, images: Tensor) -> None:
        """Sets the entropy model's scales from the latents of float32[B, 3, H, W] photos."""
        latents = self.analysis(images)
        std = []
        for level in range(len(self.config.lambdas)):
            y = torch.round(latents * self.gains.scale(torch.tensor([level], device=latents.device)))
            std.append(y.pow(2).mean((0, 2, 3)).sqrt())
        self.hyper_synthesis.start_from(torch.stack(std))

    @torch.no_grad()
    def integers(self, image: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Rounded latents float32[B, M, h, w] and hyper-latents float32[B, N, h/4, w/4] of one level."""
        levels = torch.tensor([level], device=image.device)
        latents = torch.round(self.analysis(image) * self.gains.scale(levels))
        hyper = torch.round(self.hyper_analysis(latents).clamp(-HYPER_MAX, HYPER_MAX))
        return latents, hyper


def pad_to(image: Tensor, multiple: int) -> Tensor:
    """Repeats the last row and column until both sides are multiples of ``multiple``."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
