"""Stage 4: the context model of frames coded alone. Codec and hyperprior are finished and frozen.

Groups of channels that grow: D. He, Z. Yang, W. Peng, R. Ma, H. Qin, Y. Wang, "ELIC: Efficient Learned Image
Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding", arXiv 2203.10886. Two halves of a
checkerboard: D. He, Y. Zheng, B. Sun, Y. Wang, H. Qin, "Checkerboard Context Model for Efficient Learned Image
Compression", arXiv 2103.15306.

What it minimises is the rate alone, each level's against what the hyper-latents alone would cost, so that levels with
few bits count like those with many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.latents.latents import HYPER_MAX
from icm.errors import ConfigError
from icm_train.data.photo_shard import Batch, Crops
from icm_train.models.codec import TrainableCodec
from icm_train.models.context_model import ContextNetworks, rounded
from icm_train.models.temporal_model import channel_groups
from icm_train.schedule import load_optimiser, set_rates
from icm_train.stages.loop import Loop, Metrics, Pace, Stage, training_device
from icm_train.weights.checkpoint import digest, load_codec, source_of

NAME = "context"
GROUP_SHARES = (1 / 32, 1 / 8, 3 / 8, 1)
"""Shares of the channels, by falling energy, after which the groups end."""
_LOG_EVERY = 50
_GROUPED = 16
"""Crops that the channels' energies are taken of."""


@dataclass(frozen=True)
class ContextConfig:
    """Settings of the stage.

    Attributes:
        steps: optimiser steps; every level is in each.
        batch: pictures a step, a multiple of the number of quality levels.
        crop: side of the pictures, pixels.
        rate: peak learning rate, of the last biases three times as much; it falls along a cosine.
        warmup: steps over which the learning rate rises.
        save_every: steps between checkpoints.
        seed: every random number of the stage follows from it.
    """

    steps: int = 4000
    batch: int = 8
    crop: int = 192
    rate: float = 1e-3
    warmup: int = 50
    save_every: int = 500
    seed: int = 21


def train(config: ContextConfig, checkpoint: Path, shard: Path, folder: Path) -> None:
    """Trains the context model of a finished codec; goes on from this stage's own checkpoint for the same codec.

    Args:
        config: settings of the stage.
        checkpoint: of the base or the object stage.
        shard: photos.
        folder: the run's.
    """
    codec, _ = load_codec(checkpoint)
    stage = ContextTrainer(codec, config, shard)
    pace = Pace(config.steps, config.save_every, _LOG_EVERY, config.warmup)
    loop = Loop(NAME, stage, pace, folder, source=digest(checkpoint))
    loop.resume()
    loop.run()


def is_trained(config: ContextConfig, checkpoint: Path, folder: Path) -> bool:
    """Whether the stage took all its steps, in this run's folder, on this very checkpoint."""
    file = folder / f"{NAME}.pt"
    if not file.exists():
        return False
    state = torch.load(file, map_location="cpu", weights_only=True)
    return bool(source_of(state) == digest(checkpoint) and state["step"] >= config.steps)


def trained(checkpoint: Path, folder: Path) -> ContextNetworks:
    """The networks that the stage made for a checkpoint.

    Raises:
        ConfigError: there are none.
    """
    file = folder / f"{NAME}.pt"
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True) if file.exists() else {}
    if source_of(state) != digest(checkpoint):
        raise ConfigError(f"{file} was not made from {checkpoint}: run icm-train context first")
    networks = ContextNetworks([list(group) for group in state["groups"]], state["levels"])
    networks.load_state_dict(state["networks"])
    return networks.eval()


@torch.no_grad()
def predicted_from(
    codec: TrainableCodec, latents: Tensor, hyper: Tensor, levels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What the context model corrects: latents, and their means in 1/8 and scale indexes by the hyper-latents.

    Args:
        latents: whole numbers, float32[B, M, h, w].
        hyper: whole numbers, float32[B, N, h/4, w/4].
        levels: int64[B].

    Returns:
        Whole numbers, float32[B, M, h, w] each.
    """
    means, indexes = codec.hyper_synthesis(hyper, levels)
    return latents, torch.round(means.float() * MEAN_STEPS), torch.round(indexes.float()).clamp(0, SCALE_COUNT - 1)


@torch.no_grad()
def predicted(codec: TrainableCodec, images: Tensor, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same from pictures, float32[B, 3, H, W] in 0..1, sides multiples of 64."""
    latents = torch.round(codec.analyse(images, levels).float())
    hyper = torch.round(codec.hyper_analysis(latents).float().clamp(-HYPER_MAX, HYPER_MAX))
    return predicted_from(codec, latents, hyper, levels)


class ContextTrainer(Stage):
    """Trains the networks of one codec."""

    def __init__(self, codec: TrainableCodec, config: ContextConfig, shard: Path) -> None:
        """Makes the networks, untrained, for channels in the order of their energy.

        Args:
            codec: finished; it is frozen here.
            config: settings of the stage.
            shard: photos.
        """
        self.config, self.shard = config, shard
        self.device = training_device()
        self.codec = codec.to(self.device).requires_grad_(False)
        torch.manual_seed(config.seed)
        self.crops = self._crops(0)
        with torch.no_grad():
            images = [self._next_images() for _ in range(-(-_GROUPED // config.batch))]
            weights = self.codec.weights_of(torch.full((_GROUPED,), self.codec.middle, device=self.device))
            energy = self.codec.analysis(torch.cat(images)[:_GROUPED], weights).pow(2).mean((0, 2, 3))
        self.levels = len(codec.config.lambdas)
        self.networks = ContextNetworks(channel_groups(energy, GROUP_SHARES), self.levels).to(self.device)
        quick = [network.get_parameter("last_bias") for network in self.networks.networks]
        rest = [p for p in self.networks.parameters() if not any(p is q for q in quick)]
        groups = [{"params": rest, "peak": config.rate}, {"params": quick, "peak": 3 * config.rate}]
        self.optimiser = torch.optim.Adam(groups)

    def step(self, taken: int, share: float) -> Metrics:
        """See ``Stage.step``."""
        set_rates(self.optimiser, share)
        loss, by_level = self.objective(self._next_images())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimiser.step()
        return {"bits": by_level}

    def state(self) -> dict[str, Any]:
        """See ``Stage.state``."""
        return {
            "networks": self.networks.state_dict(),
            "groups": self.networks.groups,
            "levels": self.levels,
            "optimiser": self.optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """See ``Stage.load``."""
        self.networks.groups = [list(group) for group in state["groups"]]
        self.networks.load_state_dict(state["networks"])
        load_optimiser(self.optimiser, state["optimiser"])
        self.crops = self._crops(state["step"])

    def objective(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What a step minimises.

        Args:
            images: float32[B, 3, H, W] in 0..1.

        Returns:
            The loss, a scalar; and of each level the bits against those without context, float32[levels].
        """
        levels = torch.arange(self.levels, device=self.device).repeat(len(images) // self.levels)
        bits = self.codec.latent_bits
        with torch.autocast(self.device.type, torch.bfloat16):
            latents, means, indexes = predicted(self.codec, images, levels)
            better_means, better_indexes = rounded(*self.networks(latents, means, indexes, levels))
        before = bits(latents, means / MEAN_STEPS, indexes).sum((1, 2, 3))
        after = bits(latents, better_means / MEAN_STEPS, better_indexes).sum((1, 2, 3))
        by_level = after.view(-1, self.levels).sum(0) / before.view(-1, self.levels).sum(0)
        return by_level.mean(), by_level.detach()

    def _crops(self, taken: int) -> Iterator[Batch]:
        return iter(Crops(self.shard, self.config.crop, self.config.batch, self.config.seed + taken))

    def _next_images(self) -> Tensor:
        return next(self.crops).image.to(self.device).float().div(255).contiguous(memory_format=torch.channels_last)
