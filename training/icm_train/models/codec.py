"""The whole codec as one trainable module."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from icm.codec.latents.latents import HYPER_MAX
from icm.codec.predict.requantise import OCTAVE_STEPS
from icm_train.integer.grid import round_ste
from icm_train.models.entropy_model import HyperPrior, HyperSynthesis, LatentBits, MixtureBits
from icm_train.models.gated_networks import GatedAnalysis, GatedSynthesis
from icm_train.models.networks import AnalysisTransform, Gains, HyperAnalysis, NetworkConfig, SynthesisTransform

Analysis = AnalysisTransform | GatedAnalysis
Synthesis = SynthesisTransform | GatedSynthesis

RateOn = Literal["noise", "rounded"]
DecoderSees = Literal["rounded", "noise"]


@dataclass(frozen=True)
class CodecOutput:
    """What one training pass yields.

    Attributes:
        image: reconstruction, float32[B, 3, H, W], about 0..1, not clamped.
        latent_bits: bits of each picture's latents, float32[B].
        hyper_bits: bits of each picture's hyper-latents, float32[B].
    """

    image: Tensor
    latent_bits: Tensor
    hyper_bits: Tensor


class TrainableCodec(nn.Module):
    """Analysis, gains, entropy model and synthesis, with noise or straight-through rounding in place of coding."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        gated = config.blocks == "gated"
        self.analysis: Analysis = GatedAnalysis(config) if gated else AnalysisTransform(config)
        self.synthesis: Synthesis = GatedSynthesis(config) if gated else SynthesisTransform(config)
        self.hyper_analysis = HyperAnalysis(config)
        self.hyper_synthesis = HyperSynthesis(config)
        self.hyper_prior = HyperPrior(config.hyper)
        self.gains = Gains(config)
        self.latent_bits = MixtureBits() if config.likelihood == "mixture" else LatentBits()

    def forward(
        self,
        image: Tensor,
        levels: Tensor,
        rate_on: RateOn = "noise",
        *,
        decoder_sees: DecoderSees = "rounded",
        float32_synthesis: bool = False,
    ) -> CodecOutput:
        """One training pass.

        Args:
            image: float32[B, 3, H, W] in 0..1, H and W multiples of 64.
            levels: int64[B].
            rate_on: what the rate is taken of: latents with uniform noise, which gives smooth gradients but up to
                twice the true rate where most latents are 0; or rounded ones with straight-through gradients, which
                gives the true rate. The hyper-analysis is given what that rate depends on: latents that are not
                rounded with noise, since 0.1 and 0.4 take different bits then; rounded ones, as an encoder gives it,
                with rounded ones.
            decoder_sees: what the synthesis is given: rounded latents with straight-through gradients, as when
                decoding, or latents with uniform noise.
            float32_synthesis: whether the synthesis computes in float32 under whatever autocast.
        """
        latents = self.analyse(image, levels)
        rounded = round_ste(latents)
        told = rounded if rate_on == "rounded" else latents
        hyper = self.hyper_analysis(told).float().clamp(-HYPER_MAX, HYPER_MAX)
        hyper_bits = self.hyper_prior(hyper)
        means, indexes = self.hyper_synthesis(round_ste(hyper), levels)
        noisy = latents + torch.rand_like(latents) - 0.5 if "noise" in (rate_on, decoder_sees) else rounded
        coded = rounded if rate_on == "rounded" else noisy
        latent_bits = self.latent_bits(coded, means.float(), indexes.float())
        with torch.autocast(image.device.type, enabled=False) if float32_synthesis else nullcontext():
            restored = self.synthesise(rounded if decoder_sees == "rounded" else noisy, levels)
        return CodecOutput(restored, latent_bits.sum((1, 2, 3)), hyper_bits.sum((1, 2, 3)))

    @property
    def middle(self) -> int:
        """The quality level that stands for all where only one can, such as when channels are sorted by energy."""
        return (len(self.config.lambdas) - 1) // 2

    def weights_of(self, levels: Tensor) -> Tensor:
        """What the transforms take for levels int64[B]: the share of each whole level, float32[B, levels]."""
        return F.one_hot(levels, len(self.config.lambdas)).float()

    def analyse(self, image: Tensor, levels: Tensor) -> Tensor:
        """float32[B, 3, H, W], int64[B] -> latents in quantisation steps, float32[B, M, h, w], not rounded."""
        latents: Tensor = self.analysis(image, self.weights_of(levels)) * self.gains.scale(levels)
        return latents

    def synthesise(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Latents in quantisation steps, float32[B, M, h, w], int64[B] -> float32[B, 3, 16h, 16w], about 0..1."""
        image: Tensor = self.synthesis(latents * self.gains.unscale(levels), self.weights_of(levels))
        return image

    @torch.no_grad()
    def start_from(self, images: Tensor) -> None:
        """Sets the entropy model's scales from the latents of float32[B, 3, H, W] photos."""
        std = []
        for level in range(len(self.config.lambdas)):
            y = torch.round(self.analyse(images, torch.full((len(images),), level, device=images.device)))
            std.append(y.pow(2).mean((0, 2, 3)).sqrt())
        self.hyper_synthesis.start_from(torch.stack(std))

    @torch.no_grad()
    def integers(self, image: Tensor, level: int, rate_on: RateOn = "rounded") -> tuple[Tensor, Tensor]:
        """Rounded latents float32[B, M, h, w] and hyper-latents float32[B, N, h/4, w/4] of one level.

        Args:
            rate_on: what the rate was taken of in training, which says what the hyper-analysis knows how to read; what
                ships is finished on rounded latents.
        """
        latents = self.analyse(image, torch.full((len(image),), level, device=image.device))
        rounded = torch.round(latents)
        told = rounded if rate_on == "rounded" else latents
        return rounded, torch.round(self.hyper_analysis(told).clamp(-HYPER_MAX, HYPER_MAX))


def gain_arrays(codec: TrainableCodec) -> dict[str, NDArray[Any]]:
    """What a bundle stores of the gains: as floats for the transforms, as integers for ``requantise``."""
    gains = torch.stack((codec.gains.log_gain, codec.gains.log_ungain)).detach().numpy()
    octaves = np.rint(gains[0].astype(np.float64) / math.log(2) * OCTAVE_STEPS).astype(np.int32)
    return {"log_gains": gains.astype(np.float32), "gain_octaves": octaves}


def pad_to(image: Tensor, multiple: int) -> Tensor:
    """Repeats the last row and column until both sides are multiples of ``multiple``."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
