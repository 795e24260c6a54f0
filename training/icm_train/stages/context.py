"""Stage 4: the context model of frames coded alone. Codec and hyperprior are finished and frozen.

What it minimises is the rate alone, each level's against what the hyper-latents alone would cost, so that levels with
few bits count like those with many.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT
from icm.codec.latents.latents import HYPER_MAX
from icm.errors import ConfigError
from icm_train.data.photo_shard import Batch, Crops
from icm_train.log import TrainingLog
from icm_train.models.codec import TrainableCodec
from icm_train.models.context_model import ContextNetworks, rounded
from icm_train.models.temporal_model import channel_groups
from icm_train.weights.checkpoint import digest, load_codec, save_checkpoint

log = logging.getLogger(__name__)

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
        batch: pictures a step, a multiple of the number of quality levels; crop: their side in pixels.
        rate: peak learning rate; it falls along a cosine.
    """

    steps: int = 4000
    batch: int = 8
    crop: int = 192
    rate: float = 1e-3
    warmup: int = 50
    save_every: int = 500
    seed: int = 21


def train(config: ContextConfig, checkpoint: Path, shard: Path, folder: Path) -> None:
    """Trains the context model of a finished codec; goes on from this stage's own checkpoint.

    Args:
        checkpoint: of the base or the object stage; shard: photos; folder: the run's.
    """
    codec, _ = load_codec(checkpoint)
    ContextTrainer(codec, config, shard).run(folder / f"{NAME}.pt", digest(checkpoint))


def is_trained(config: ContextConfig, checkpoint: Path, folder: Path) -> bool:
    """Whether the stage took all its steps, in this run's folder, on this very checkpoint."""
    file = folder / f"{NAME}.pt"
    if not file.exists():
        return False
    state = torch.load(file, map_location="cpu", weights_only=True)
    return bool(state["source"] == digest(checkpoint) and state["step"] >= config.steps)


def trained(checkpoint: Path, folder: Path) -> ContextNetworks:
    """The networks that the stage made for a checkpoint.

    Raises:
        ConfigError: there are none.
    """
    file = folder / f"{NAME}.pt"
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True) if file.exists() else {"source": ""}
    if state["source"] != digest(checkpoint):
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
        latents: whole numbers, float32[B, M, h, w]; hyper: whole numbers, float32[B, N, h/4, w/4]; levels: int64[B].

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


class ContextTrainer:
    """Trains the networks of one codec."""

    def __init__(self, codec: TrainableCodec, config: ContextConfig, shard: Path) -> None:
        self.config, self.shard = config, shard
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.codec = codec.to(self.device).requires_grad_(False)
        torch.manual_seed(config.seed)
        self.step = 0
        self.crops = self._crops()
        with torch.no_grad():
            images = [self._next_images() for _ in range(-(-_GROUPED // config.batch))]
            weights = self.codec.weights_of(torch.full((_GROUPED,), self.codec.middle, device=self.device))
            energy = self.codec.analysis(torch.cat(images)[:_GROUPED], weights).pow(2).mean((0, 2, 3))
        self.levels = len(codec.config.lambdas)
        self.networks = ContextNetworks(channel_groups(energy, GROUP_SHARES), self.levels).to(self.device)

    def _crops(self) -> Iterator[Batch]:
        return iter(Crops(self.shard, self.config.crop, self.config.batch, self.config.seed + self.step))

    def _next_images(self) -> Tensor:
        return next(self.crops).image.to(self.device).float().div(255).contiguous(memory_format=torch.channels_last)

    def objective(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What a step minimises, a scalar; and of each level the bits against those without context, float32[levels].

        Args: images, float32[B, 3, H, W] in 0..1.
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

    def run(self, checkpoint: Path, source: str) -> None:
        """Trains to the end, saving to the checkpoint; goes on from it if it was made for the same codec."""
        quick = [network.get_parameter("last_bias") for network in self.networks.networks]
        rest = [p for p in self.networks.parameters() if not any(p is q for q in quick)]
        optimiser = torch.optim.Adam([{"params": rest}, {"params": quick}])
        self._resume(checkpoint, source, optimiser)
        progress = tqdm(total=self.config.steps, initial=self.step, desc=NAME, unit="step", mininterval=10)
        started, sums = time.monotonic(), torch.zeros(self.levels, device=self.device)
        with progress, TrainingLog(checkpoint.parent, NAME, self.step) as written:
            while self.step < self.config.steps:
                rate = self.config.rate * min(1, (self.step + 1) / self.config.warmup)
                rate *= 0.02 + 0.49 * (1 + math.cos(math.pi * self.step / self.config.steps))
                optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = rate, 3 * rate
                loss, by_level = self.objective(self._next_images())
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
                optimiser.step()
                self.step += 1
                sums += by_level
                progress.update()
                if self.step % _LOG_EVERY == 0:
                    row = {f"bits_{level}": value for level, value in enumerate((sums / _LOG_EVERY).tolist())}
                    written.row(self.step, time.monotonic() - started, row)
                    sums.zero_()
                if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                    self._save(checkpoint, source, optimiser)

    def _resume(self, checkpoint: Path, source: str, optimiser: torch.optim.Optimizer) -> None:
        if not checkpoint.exists():
            return
        state = torch.load(checkpoint, map_location=self.device, weights_only=True)
        if state["source"] != source:
            return
        self.networks.groups = [list(group) for group in state["groups"]]
        self.networks.load_state_dict(state["networks"])
        optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.crops = self._crops()
        log.info("resuming at step %d", self.step)

    def _save(self, checkpoint: Path, source: str, optimiser: torch.optim.Optimizer) -> None:
        state = {
            "networks": self.networks.state_dict(),
            "groups": self.networks.groups,
            "levels": self.levels,
            "optimiser": optimiser.state_dict(),
            "step": self.step,
            "source": source,
        }
        save_checkpoint(checkpoint, state)
