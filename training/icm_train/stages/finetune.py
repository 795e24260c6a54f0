"""Stage 3: adversarial decoder finetuning. Records stay as they are, pictures lose a pattern.

N. Le, H. Zhang, F. Cricri, R. G. Youvalari, H. Rezazadegan Tavakoli, E. Aksu, M. M. Hannuksela, E. Rahtu, "Bridging the
gap between image coding for machines and humans", arXiv 2401.10732.

Only layers of the synthesis move. A discriminator learns to tell patches of photos from decoded ones, the decoder to
deceive it without leaving the photo: L2 + lambda_adv * adversarial + feature_weight * distance of a frozen network
+ pattern_weight * excess of the periodic pattern over the photo's own + object_weight * distance of objects in the
features that object-region learning was given as well, which keeps what machines read. All but the L2 see decoded
pictures with the grain of their level, as people will, and the last one with the share of it that detectors will: what
grain fills the decoder need not make up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from icm.errors import ConfigError
from icm_train.data.masks import mask_file
from icm_train.data.photo_shard import Batch, Crops
from icm_train.losses.feature_distance import FeatureDistance
from icm_train.losses.periodic_artifacts import SMALLEST_SIDE, PatternExcess
from icm_train.losses.rate_distortion import VISIBLE_SCALE, ErrorMeasure, grown, squared_error, visible_error
from icm_train.models.codec import Synthesis
from icm_train.models.discriminator import (
    DiscriminatorLoss,
    PatchDiscriminator,
    cut_patches,
    deception_loss,
    discrimination_loss,
)
from icm_train.models.features import FrozenFeatures
from icm_train.schedule import load_optimiser, set_rates
from icm_train.stages.loop import Loop, Metrics, Pace, Stage, training_device
from icm_train.weights.checkpoint import digest, load_codec, source_of

NAME = "finetune"
FIRST_TWO = ("entry.", "block_deep.", "blocks_deep.0.")
"""The first two layers of the synthesis, which the paper moves."""
_LOG_EVERY = 25
"""Steps."""


class BundleGrain(NamedTuple):
    """Standard deviations of a bundle's grain at each level, in grey levels, as its manifest has them.

    Attributes:
        grain: for people.
        detector_grain: for detectors, of frames coded alone.
        detector_grain_after: for detectors, of frames coded after another.
    """

    grain: list[float]
    detector_grain: list[float]
    detector_grain_after: list[float]


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of the stage.

    Attributes:
        steps: optimiser steps in all; the learning rates fall along a cosine to 2 % over them.
        warmup: steps at the start in which the discriminator alone learns.
        batch: pictures a step, a multiple of the number of quality levels.
        crop: side of the pictures, pixels.
        rate: peak learning rate of the decoder.
        discriminator_rate: peak learning rate of the discriminator.
        layers: which of the synthesis moves: "first_two" or "all".
        patch_size: side of the discriminator's patches, pixels.
        patches: how many are cut of each picture.
        measure: what the L2 is taken of: the squared error, or the visible one brought to its size; the one that the
            codec was trained with keeps the finetuned decoder where it was.
        lambda_adv: weight of the adversarial term beside the L2 on the 0..255 scale; at 0 there is no discriminator.
        discriminator_loss: "bce", "lsgan" or "hinge".
        feature_weight: weight of the feature distance, taken on the same patches; at 0 its network is not loaded.
        feature_balance: as ``level_balance``, of the feature distance, which is smaller the better a level is; 0 for no
            weights, below 0 for more of low levels, where made-up texture costs most and is easily outweighed.
        features: weights of that network; see ``icm_train.models.features``.
        object_weight: weight of the distance of ``icm_train.losses.feature_distance``, which keeps for machines what
            the other terms would trade for texture; at 0 its networks are not loaded.
        background: what that distance counts outside of objects, 0 to 1.
        margin: by how many pixels objects are made larger for it, on all sides.
        efficientnet: weights of its second network, beside ``features``.
        pattern_weight: weight of the pattern's excess, dB^2, over the whole pictures; see
            ``icm_train.losses.periodic_artifacts``. The first two layers work at a sixteenth of the resolution, so the
            texture that the other terms ask for comes with the period of the blocks unless this one is there.
        pattern_memory: how much of the averaged spectra that the pattern is told from a step leaves as it was, 0 to
            below 1; at 0 it is told from each step's pictures alone.
        grain: what is laid over decoded pictures, as the standard deviation in grey levels at each quality level; see
            ``icm.codec.transforms.film_grain``. Empty for none.
        detector_grain: share of it that the term of objects sees, and detectors will be shown of frames coded alone, 0
            to 1.
        detector_grain_after: the same of frames coded after another; None for as much.
        people_grain: what people will be shown in its place; empty for the same.
        level_balance: a picture's L2 is weighted by (lambda / median lambda) ** level_balance of its quality level,
            which evens them out, since the error of a good one is smaller.
        average: decay of the running average of the weights, which is what is exported.
        save_every: steps between checkpoints.
        seed: every random number of the stage follows from it.
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
    feature_balance: float = 0.0
    features: str = ".cache/weights/alex_shift_tolerant.pth"
    object_weight: float = 0.0
    background: float = 0.1
    margin: int = 12
    efficientnet: str = ".cache/weights/efficientnet_lite0.pth"
    pattern_weight: float = 0.0
    pattern_memory: float = 0.0
    grain: tuple[float, ...] = ()
    detector_grain: float = 1.0
    detector_grain_after: float | None = None
    people_grain: tuple[float, ...] = ()
    level_balance: float = 0.5
    average: float = 0.99
    save_every: int = 100
    seed: int = 5

    def bundle_grain(self, levels: int) -> BundleGrain:
        """The grain of a bundle with the decoder.

        Args:
            levels: how many quality levels there are.

        Raises:
            ConfigError: there are not so many values, or a share is none.
        """
        for name in ("grain", "people_grain"):
            values = getattr(self, name)
            if values and (len(values) != levels or min(values) < 0):
                raise ConfigError(f"finetune.{name} has to be a standard deviation of each of the {levels} levels")
        shares = []
        after = self.detector_grain if self.detector_grain_after is None else self.detector_grain_after
        for name, share in (("detector_grain", self.detector_grain), ("detector_grain_after", after)):
            if not 0 <= share <= 1:
                raise ConfigError(f"finetune.{name} {share} is no share of the grain: 0 to 1")
            shares.append([round(share * deviation, 3) for deviation in self.grain] if share else [])
        return BundleGrain(list(self.people_grain or self.grain), *shares)


def train(config: FinetuneConfig, shard: Path, folder: Path, start: Path) -> Finetuner:
    """Finetunes the synthesis of a finished codec, or goes on from this stage's own checkpoint.

    Args:
        config: settings of the stage.
        shard: photos.
        folder: the run's.
        start: the codec's checkpoint.

    Returns:
        The stage after its last step.

    Raises:
        ConfigError: the folder's checkpoint was finetuned from another one than ``start``, or the crops are too small.
    """
    stage = Finetuner(config, shard, start)
    loop = Loop(NAME, stage, Pace(config.steps, config.save_every, _LOG_EVERY), folder, source=digest(start))
    if not loop.resume() and loop.checkpoint.exists():
        raise _other_start(loop.checkpoint, start)
    loop.run()
    return stage


def provenance(checkpoint: Path) -> dict[str, Any]:
    """How a checkpoint of this stage came about: its step and settings."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {"step": state["step"], "config": state["config"]}


def finetuned_synthesis(checkpoint: Path, start: Path) -> dict[str, Tensor]:
    """The state of the synthesis that a run of this stage came to.

    Args:
        checkpoint: of this stage.
        start: the checkpoint that it must have started from.

    Raises:
        ConfigError: it started from another one, so encoder and decoder would not fit.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if source_of(state) != digest(start):
        raise _other_start(checkpoint, start)
    average: dict[str, Tensor] = state["average"]
    return average


def _other_start(checkpoint: Path, start: Path) -> ConfigError:
    return ConfigError(
        f"{checkpoint} was finetuned from another checkpoint than {start} as it is now: remove it and run icm-train"
        " finetune again"
    )


class Finetuner(Stage):
    """Every quality level in every step, rounded latents, a discriminator's step before each decoder's."""

    def __init__(self, config: FinetuneConfig, shard: Path, start: Path) -> None:
        """Makes the discriminator, untrained, beside the codec to finetune.

        Args:
            config: settings of the stage.
            shard: photos.
            start: the codec's checkpoint.

        Raises:
            ConfigError: the crops are too small, or the grain is none.
        """
        self.config, self.shard = config, shard
        self.device = training_device()
        torch.manual_seed(config.seed)
        if config.pattern_weight and config.crop < SMALLEST_SIDE:
            raise ConfigError(
                f"finetune.crop {config.crop} is too small for the pattern's term: {SMALLEST_SIDE} at least"
            )
        codec, _ = load_codec(start)
        config.bundle_grain(len(codec.config.lambdas))
        self.codec = codec.to(self.device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.moving = moving_parameters(self.codec.synthesis, config.layers)
        self.average = {name: tensor.clone() for name, tensor in self.codec.synthesis.state_dict().items()}
        decoder = {"params": list(self.moving.values()), "peak": config.rate}
        self.optimiser = torch.optim.Adam([decoder], betas=(0.9, 0.99))
        self.discriminator = PatchDiscriminator().to(self.device)
        opponent = {"params": list(self.discriminator.parameters()), "peak": config.discriminator_rate}
        self.opponent = torch.optim.Adam([opponent], betas=(0.5, 0.99))
        self.features = FrozenFeatures(Path(config.features)).to(self.device) if config.feature_weight else None
        self.objects = self._objects()
        self.levels = self._levels()
        self.weights, self.feature_weights = self._evened(config.level_balance), self._evened(config.feature_balance)
        self.pattern = PatternExcess(config.pattern_memory)
        self._draw_from(0)

    def state(self) -> dict[str, Any]:
        """See ``Stage.state``."""
        return {
            "synthesis": self.codec.synthesis.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "opponent": self.opponent.state_dict(),
            "config": asdict(self.config) | {"stage": NAME},
        }

    def load(self, state: dict[str, Any]) -> None:
        """See ``Stage.load``."""
        self.codec.synthesis.load_state_dict(state["synthesis"])
        self.average = state["average"]
        load_optimiser(self.optimiser, state["optimiser"])
        self.discriminator.load_state_dict(state["discriminator"])
        load_optimiser(self.opponent, state["opponent"])
        self._draw_from(state["step"])

    def step(self, taken: int, share: float) -> Metrics:
        """See ``Stage.step``; the terms of the loss, and of each level the PSNR in dB."""
        config = self.config
        set_rates(self.optimiser, share)
        set_rates(self.opponent, share)
        batch = next(self.crops)
        image = batch.image.to(self.device).float().div(255).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            # In float32, as the exported encoder computes: these are the very integers that it would send.
            latents = torch.round(self.codec.analyse(image, self.levels))
        # And as the exported decoder does: rounding to bfloat16 leaves a pattern of its own.
        restored = self.codec.synthesise(latents, self.levels)
        error = squared_error(restored, image).mean((1, 2))
        seen = VISIBLE_SCALE * visible_error(restored, image).mean((1, 2)) if config.measure == "visible" else error
        loss = (self.weights * seen).mean()
        metrics = {"l2": loss.detach()}
        grain = self._grain(image)
        shown = restored + grain
        photo, coded = cut_patches((image, shown), config.patch_size, config.patches, self.generator)
        if config.lambda_adv:
            metrics["discriminator"] = self._discriminate(photo, coded.detach())
            with torch.autocast(self.device.type, torch.bfloat16):
                deception = deception_loss(config.discriminator_loss, self.discriminator(coded))
            metrics["deception"] = deception.detach()
            loss = loss + config.lambda_adv * deception
        if self.features is not None:
            with torch.autocast(self.device.type, torch.bfloat16):
                distance = self.features(coded, photo).view(-1, config.patches).mean(1)
            metrics["features"] = distance.detach().mean()
            loss = loss + config.feature_weight * (self.feature_weights * distance).mean()
        if self.objects is not None:
            assert batch.mask is not None
            mask = grown(batch.mask.to(self.device).float(), config.margin)
            seen = restored + config.detector_grain * grain
            apart = self.objects(seen, image, mask + config.background * (1 - mask)).mean()
            metrics["objects"] = apart.detach()
            loss = loss + config.object_weight * apart
        if config.pattern_weight:
            excess = self.pattern(shown, image, len(self.codec.config.lambdas)).mean()
            metrics["pattern"] = excess.detach()
            loss = loss + config.pattern_weight * excess
        if taken >= config.warmup or not config.lambda_adv:
            self._move(loss)
        log_error = error.detach().clamp_min(1e-3).log10().view(-1, len(self.codec.config.lambdas))
        metrics["psnr"] = (20 * math.log10(255) - 10 * log_error).mean(0)
        return {name: value.double() for name, value in metrics.items()}

    def _objects(self) -> FeatureDistance | None:
        if not self.config.object_weight:
            return None
        if not mask_file(self.shard).exists():
            raise ConfigError(
                f"{self.shard} has no masks beside it, which object_weight needs: icm-train masks makes them"
            )
        return FeatureDistance(Path(self.config.features), Path(self.config.efficientnet)).to(self.device)

    def _levels(self) -> Tensor:
        count = len(self.codec.config.lambdas)
        return torch.arange(count, device=self.device).repeat(self.config.batch // count)

    def _evened(self, balance: float) -> Tensor:
        """What a picture's error counts, by its level."""
        lambdas = torch.tensor(self.codec.config.lambdas, device=self.device)
        return (lambdas / lambdas.median())[self.levels] ** balance

    def _grain(self, image: Tensor) -> Tensor:
        """Grain of each picture's level, another in every step so that no decoder learns it: float32[B, 1, H, W]."""
        if not self.config.grain:
            return torch.zeros((), device=self.device)
        noise = torch.randn(len(image), 1, *image.shape[2:], generator=self.generator).to(self.device)
        deviations = torch.tensor(self.config.grain, device=self.device)[self.levels] / 255
        return noise * deviations[:, None, None, None]

    def _draw_from(self, taken: int) -> None:
        """Begins anew with crops and patches, as of this step."""
        seed = self.config.seed + taken
        self.crops: Iterator[Batch] = iter(Crops(self.shard, self.config.crop, self.config.batch, seed))
        self.generator = torch.Generator().manual_seed(seed)

    def _discriminate(self, photo: Tensor, coded: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self.discriminator(torch.cat((photo, coded)))
        loss = discrimination_loss(self.config.discriminator_loss, *scores.chunk(2))
        self.opponent.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.opponent.step()
        return loss.detach()

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
