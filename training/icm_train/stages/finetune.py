"""Stage 3: adversarial decoder finetuning (Le et al. 2024). Records stay as they are, pictures lose a pattern.

Only layers of the synthesis move. A discriminator learns to tell patches of photos from decoded ones, the decoder to
deceive it without leaving the photo: L2 + lambda_adv * adversarial + feature_weight * distance of a frozen network
+ pattern_weight * excess of the periodic pattern over the photo's own.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from icm.errors import ConfigError
from icm_train.data.photo_shard import Crops
from icm_train.log import TrainingLog
from icm_train.losses.periodic_artifacts import SMALLEST_SIDE, pattern_excess
from icm_train.losses.rate_distortion import VISIBLE_SCALE, ErrorMeasure, squared_error, visible_error
from icm_train.models.codec import Synthesis
from icm_train.models.discriminator import (
    DiscriminatorLoss,
    PatchDiscriminator,
    cut_patches,
    deception_loss,
    discrimination_loss,
)
from icm_train.models.features import FrozenFeatures
from icm_train.weights.checkpoint import digest, load_codec, save_checkpoint

log = logging.getLogger(__name__)

NAME = "finetune"
FIRST_TWO = ("entry.", "block_deep.", "blocks_deep.0.")
"""The first two layers of the synthesis, which the paper moves."""
_LOG_EVERY = 25


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of the stage.

    Attributes:
        steps: optimiser steps in all, ``warmup`` of them the discriminator's alone; the learning rates fall along a
            cosine to 2 % over them.
        batch: pictures a step, a multiple of the number of quality levels; crop: their side in pixels.
        rate: peak learning rate of the decoder; discriminator_rate: of the discriminator.
        layers: which of the synthesis moves: "first_two" or "all".
        patch_size: side of the discriminator's patches in pixels; patches: how many of each picture.
        measure: what the L2 is taken of: the squared error, or the visible one brought to its size; the one that the
            codec was trained with keeps the finetuned decoder where it was.
        lambda_adv: weight of the adversarial term beside the L2 on the 0..255 scale; at 0 there is no discriminator.
        discriminator_loss: "bce", "lsgan" or "hinge".
        feature_weight: weight of the feature distance, taken on the same patches; at 0 its network is not loaded.
        features: weights of that network; see ``icm_train.models.features``.
        pattern_weight: weight of the pattern's excess, dB^2, over the whole pictures; see
            ``icm_train.losses.periodic_artifacts``. The first two layers work at a sixteenth of the resolution, so the
            texture that the other terms ask for comes with the period of the blocks unless this one is there.
        grain: what is laid over decoded pictures, as the standard deviation in grey levels at each quality level; see
            ``icm.codec.transforms.film_grain``. Nothing is trained with it; it goes into the bundle with the decoder.
        level_balance: a picture's L2 is weighted by (lambda / median lambda) ** level_balance of its quality level,
            which evens them out, since the error of a good one is smaller.
        average: decay of the running average of the weights, which is what is exported.
        save_every: steps between checkpoints.
    """

    steps: int = 600
    warmup: int = 50
    batch: int = 8
    crop: int = 128
    rate: float = 3e-4
    discriminator_rate: float = 4e-4
    layers: Literal["first_two", "all"] = "first_two"
    patch_size: Literal[32, 64] = 64
    patches: Literal[1, 3, 5] = 3
    measure: ErrorMeasure = "squared"
    lambda_adv: float = 100.0
    discriminator_loss: DiscriminatorLoss = "hinge"
    feature_weight: float = 0.0
    features: str = ".cache/weights/alex_shift_tolerant.pth"
    pattern_weight: float = 0.0
    grain: tuple[float, ...] = ()
    level_balance: float = 0.5
    average: float = 0.99
    save_every: int = 100
    seed: int = 5


def train(config: FinetuneConfig, shard: Path, folder: Path, start: Path) -> None:
    """Finetunes the synthesis of the checkpoint ``start``, or goes on from this stage's own checkpoint.

    Raises:
        ConfigError: the folder's checkpoint was finetuned from another one than ``start``, or the crops are too small.
    """
    Finetuner(config, shard, folder, start).run()


def provenance(checkpoint: Path) -> dict[str, Any]:
    """How a checkpoint of this stage came about: its step and settings."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {"step": state["step"], "config": state["config"]}


def finetuned_synthesis(checkpoint: Path, start: Path) -> dict[str, Tensor]:
    """The state of the synthesis that a run of this stage came to.

    Args:
        checkpoint: of this stage; start: the checkpoint that it must have started from.

    Raises:
        ConfigError: it started from another one, so encoder and decoder would not fit.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    _check_start(checkpoint, state, start)
    average: dict[str, Tensor] = state["average"]
    return average


def _check_start(checkpoint: Path, state: dict[str, Any], start: Path) -> None:
    if state["start"] != digest(start):
        raise ConfigError(
            f"{checkpoint} was finetuned from another checkpoint than {start} as it is now: remove it and run icm-train"
            " finetune again"
        )


class Finetuner:
    """The loop: every quality level in every step, rounded latents, a discriminator's step before each decoder's."""

    def __init__(self, config: FinetuneConfig, shard: Path, folder: Path, start: Path) -> None:
        self.config, self.shard, self.folder = config, shard, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        if config.pattern_weight and config.crop < SMALLEST_SIDE:
            raise ConfigError(
                f"finetune.crop {config.crop} is too small for the pattern's term: {SMALLEST_SIDE} at least"
            )
        codec, _ = load_codec(start)
        self.codec = codec.to(self.device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.start = digest(start)
        self.moving = moving_parameters(self.codec.synthesis, config.layers)
        self.average = {name: tensor.clone() for name, tensor in self.codec.synthesis.state_dict().items()}
        self.optimiser = torch.optim.Adam(self.moving.values(), config.rate, betas=(0.9, 0.99))
        self.discriminator = PatchDiscriminator().to(self.device)
        self.opponent = torch.optim.Adam(self.discriminator.parameters(), config.discriminator_rate, betas=(0.5, 0.99))
        self.features = FrozenFeatures(Path(config.features)).to(self.device) if config.feature_weight else None
        self.checkpoint = folder / f"{NAME}.pt"
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume(start)
        self.generator = torch.Generator().manual_seed(config.seed + self.step)
        self.levels, self.weights = self._levels()

    def _levels(self) -> tuple[Tensor, Tensor]:
        lambdas = torch.tensor(self.codec.config.lambdas, device=self.device)
        levels = torch.arange(len(lambdas), device=self.device).repeat(self.config.batch // len(lambdas))
        return levels, (lambdas / lambdas.median())[levels] ** self.config.level_balance

    def _resume(self, start: Path) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        _check_start(self.checkpoint, state, start)
        self.codec.synthesis.load_state_dict(state["synthesis"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.opponent.load_state_dict(state["opponent"])
        self.step = state["step"]
        log.info("resuming at step %d", self.step)

    def save(self) -> None:
        state = {
            "synthesis": self.codec.synthesis.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "opponent": self.opponent.state_dict(),
            "step": self.step,
            "start": self.start,
            "config": asdict(self.config) | {"stage": NAME},
        }
        save_checkpoint(self.checkpoint, state)

    def run(self) -> None:
        """Finetunes until ``steps``, saving as it goes."""
        if self.step >= self.config.steps:
            return
        crops = iter(Crops(self.shard, self.config.crop, self.config.batch, self.config.seed + self.step))
        started = time.monotonic()
        sums: dict[str, float] = {}
        progress = tqdm(total=self.config.steps, initial=self.step, desc=NAME, unit="step", mininterval=10)
        with progress, TrainingLog(self.folder, NAME, self.step) as written:
            while self.step < self.config.steps:
                for name, value in self._step(crops).items():
                    sums[name] = sums.get(name, 0.0) + value / _LOG_EVERY
                self.step += 1
                progress.update()
                if self.step % _LOG_EVERY == 0:
                    written.row(self.step, time.monotonic() - started, sums)
                    sums = {}
                if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                    self.save()

    def _step(self, crops: Iterator[Any]) -> dict[str, float]:
        config = self.config
        share = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / config.steps))
        self.optimiser.param_groups[0]["lr"] = config.rate * share
        self.opponent.param_groups[0]["lr"] = config.discriminator_rate * share
        image = next(crops).image.to(self.device).float().div(255).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            # In float32, as the exported encoder computes: these are the very integers that it would send.
            latents = torch.round(self.codec.analyse(image, self.levels))
        # And as the exported decoder does: rounding to bfloat16 leaves a pattern of its own.
        restored = self.codec.synthesise(latents, self.levels)
        error = squared_error(restored, image).mean((1, 2))
        seen = VISIBLE_SCALE * visible_error(restored, image).mean((1, 2)) if config.measure == "visible" else error
        loss = (self.weights * seen).mean()
        told = {"l2": float(loss.detach())}
        photo, coded = cut_patches((image, restored), config.patch_size, config.patches, self.generator)
        if config.lambda_adv:
            told["discriminator"] = self._discriminate(photo, coded.detach())
            with torch.autocast(self.device.type, torch.bfloat16):
                deception = deception_loss(config.discriminator_loss, self.discriminator(coded))
            told["deception"] = float(deception.detach())
            loss = loss + config.lambda_adv * deception
        if self.features is not None:
            with torch.autocast(self.device.type, torch.bfloat16):
                distance = self.features(coded, photo).mean()
            told["features"] = float(distance.detach())
            loss = loss + config.feature_weight * distance
        if config.pattern_weight:
            excess = pattern_excess(restored, image).mean()
            told["pattern"] = float(excess.detach())
            loss = loss + config.pattern_weight * excess
        if self.step >= config.warmup or not config.lambda_adv:
            self._move(loss)
        psnr = 20 * math.log10(255) - 10 * error.detach().clamp_min(1e-3).log10().view(
            -1, len(self.codec.config.lambdas)
        )
        return told | {f"psnr_{level}": value for level, value in enumerate(psnr.mean(0).tolist())}

    def _discriminate(self, photo: Tensor, coded: Tensor) -> float:
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self.discriminator(torch.cat((photo, coded)))
        loss = discrimination_loss(self.config.discriminator_loss, *scores.chunk(2))
        self.opponent.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.opponent.step()
        return float(loss.detach())

    def _move(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.moving.values()))  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.moving.values(), 50.0)
        if torch.isfinite(norm):
            self.optimiser.step()
            with torch.no_grad():
                for name, parameter in self.moving.items():
                    self.average[name].lerp_(parameter, 1 - self.config.average)


def moving_parameters(synthesis: Synthesis, layers: str) -> dict[str, nn.Parameter]:
    """The parameters that the stage moves, by name, and lets no other learn."""
    synthesis.requires_grad_(False)
    moving = {
        name: parameter
        for name, parameter in synthesis.named_parameters()
        if layers == "all" or name.startswith(FIRST_TWO)
    }
    for parameter in moving.values():
        parameter.requires_grad_(True)
    return moving
