"""The loop that stages share: every quality level in every step, checkpoints, a log that grows."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from icm_train.data.photo_shard import Batch, Crops
from icm_train.log import TrainingLog
from icm_train.losses.rate_distortion import bits_per_pixel, squared_error
from icm_train.models.codec import CodecOutput, RateOn, TrainableCodec
from icm_train.models.grow_latents import take_over
from icm_train.models.networks import NetworkConfig
from icm_train.weights.checkpoint import load_codec, save_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of every stage that trains the whole codec.

    Attributes:
        steps: optimiser steps in all; the learning rate falls along a cosine to 2 % over them.
        batch: pictures a step, a multiple of the number of quality levels; crop: their side in pixels.
        rate: peak learning rate of the networks; gain_rate: of the gains; linear_rate: of the two linear transforms
            that start as a DCT.
        warmup: steps over which the learning rate rises.
        level_balance: level weights are (lambda / median lambda) ** -level_balance, so that the best levels, whose
            cost is largest, do not drown the others.
        rate_on: what the rate is taken of; see ``TrainableCodec.forward``.
        freeze_encoder: whether analysis and gains stay as they are. Rounding gives the entropy model the true rate but
            the encoder no reason to make small latents smaller, so a run on rounded latents freezes the encoder.
        float32_synthesis: whether the synthesis computes in float32. bfloat16 leaves a pattern of 2 and 4 pixels in
            pictures, so the last run on a decoder should not use it; on a CPU a step takes twice as long.
        average: decay of the running average of the weights, which is what is exported.
        save_every: steps between checkpoints.
    """

    steps: int = 24_000
    batch: int = 8
    crop: int = 192
    rate: float = 4e-4
    gain_rate: float = 4e-3
    linear_rate: float = 2e-5
    warmup: int = 300
    level_balance: float = 0.35
    rate_on: RateOn = "noise"
    freeze_encoder: bool = False
    float32_synthesis: bool = False
    average: float = 0.9995
    save_every: int = 500
    seed: int = 1


LOG_EVERY = 50
"""Steps."""

Distortion = Callable[[CodecOutput, Batch], Tensor]
"""Of each picture of a batch, on the 0..255 scale: float32[B]."""


class CodecTrainer:
    """Minimises rate + lambda * distortion; every step holds every level equally often."""

    def __init__(
        self,
        name: str,
        network: NetworkConfig,
        config: TrainerConfig,
        shard: Path,
        folder: Path,
        distortion: Distortion,
    ) -> None:
        """Args:
        name: of the stage; its checkpoint is ``<name>.pt`` in the folder, its log ``<name>.csv``.
        shard: photos, with masks beside them if the distortion needs any.
        """
        self.name, self.config, self.folder, self.distortion = name, config, folder, distortion
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.codec = TrainableCodec(network).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(
            self.codec,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average),  # type: ignore[no-untyped-call]
        )
        self.optimiser = torch.optim.Adam(self._groups())
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.shard = shard
        self.crops = self._crops()
        self.checkpoint = folder / f"{name}.pt"
        self.folder.mkdir(parents=True, exist_ok=True)

    def _crops(self) -> Iterator[Batch]:
        return iter(Crops(self.shard, self.config.crop, self.config.batch, self.config.seed + self.step))

    def _groups(self) -> list[dict[str, Any]]:
        config, codec = self.config, self.codec
        if config.freeze_encoder:
            codec.analysis.requires_grad_(False)
            codec.gains.log_gain.requires_grad_(False)
        linear = [codec.analysis.linear.weight, codec.synthesis.linear.weight]
        quick = [*codec.gains.parameters(), codec.hyper_synthesis.last_bias, *codec.hyper_prior.parameters()]
        apart = {id(p) for p in linear + quick}
        rest = [p for p in codec.parameters() if id(p) not in apart]
        return [
            {"params": rest, "peak": config.rate},
            {"params": quick, "peak": config.gain_rate},
            {"params": linear, "peak": config.linear_rate},
        ]

    def learning_rate(self) -> float:
        """The share of the peak rate at this step, 0..1."""
        warm = min(1.0, (self.step + 1) / self.config.warmup)
        progress = min(1.0, self.step / self.config.steps)
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def next_batch(self) -> Batch:
        """The next crops, on the device, float32 in 0..1."""
        batch = next(self.crops)
        image = batch.image.to(self.device).float().div(255).contiguous(memory_format=torch.channels_last)
        return Batch(image, None if batch.mask is None else batch.mask.to(self.device).float())

    def resume(self, start: Path | None) -> None:
        """Goes on from the stage's own checkpoint; else from an earlier stage's weights; else from statistics.

        Args:
            start: an earlier stage's checkpoint, or None for an untrained codec; it may have fewer latents.
        """
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.codec.load_state_dict(state["codec"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]
            self.history = state.get("history", [])
            self.crops = self._crops()
            log.info("resuming at step %d", self.step)
        elif start is not None:
            trained, provenance = load_codec(start)
            images = torch.cat([self.next_batch().image for _ in range(6)])
            state = {name: tensor.to(self.device) for name, tensor in trained.state_dict().items()}
            take_over(self.codec, state, trained.config, images)
            self.average.module.load_state_dict(self.codec.state_dict())
            self.history = [*provenance["history"], provenance["config"]]
        else:
            self.codec.start_from(torch.cat([self.next_batch().image for _ in range(6)]))

    def save(self) -> None:
        state = {
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "network": asdict(self.codec.config),
            "config": asdict(self.config) | {"stage": self.name},
            "history": self.history,
        }
        save_checkpoint(self.checkpoint, state)

    def run(self, start: Path | None = None) -> None:
        """Trains until ``steps``, saving and telling as it goes; ``start`` as in ``resume``."""
        self.resume(start)
        sums = torch.zeros(2, self.config.batch, device=self.device)
        started = time.monotonic()
        progress = tqdm(total=self.config.steps, initial=self.step, desc=self.name, unit="step", mininterval=10)
        with progress, TrainingLog(self.folder, self.name, self.step) as written:
            while self.step < self.config.steps:
                for group in self.optimiser.param_groups:
                    group["lr"] = group["peak"] * self.learning_rate()
                loss, told = self.objective(self.next_batch())
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                norm = torch.nn.utils.clip_grad_norm_(self.codec.parameters(), 5.0)
                if torch.isfinite(norm):
                    self.optimiser.step()
                    self.average.update_parameters(self.codec)
                self.step += 1
                sums += told
                progress.update()
                if self.step % LOG_EVERY == 0:
                    row = {"gradient_norm": float(norm)} | self._means(sums / LOG_EVERY)
                    written.row(self.step, time.monotonic() - started, row)
                    sums.zero_()
                if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                    self.save()

    def objective(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a step minimises, a scalar; and of each picture bits per pixel and log10 of the MSE, float32[2, B]."""
        levels = torch.arange(len(self.codec.config.lambdas), device=self.device)
        levels = levels.repeat(self.config.batch // len(levels))
        lambdas = torch.tensor(self.codec.config.lambdas, device=self.device)[levels]
        weights = (lambdas / lambdas.median()) ** -self.config.level_balance
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self.codec(
                batch.image, levels, self.config.rate_on, float32_synthesis=self.config.float32_synthesis
            )
        bpp = bits_per_pixel(output)
        loss = ((bpp + lambdas * self.distortion(output, batch)) * weights).mean()
        mse = squared_error(output.image.detach(), batch.image).mean((1, 2))
        return loss, torch.stack((bpp.detach(), mse.clamp_min(1e-3).log10()))

    def _means(self, means: Tensor) -> dict[str, float]:
        """Of float32[2, B], bits per pixel and log10 of the squared error, the means by level."""
        count = len(self.codec.config.lambdas)
        bpp = means[0].view(-1, count).mean(0).tolist()
        psnr = (20 * math.log10(255) - 10 * means[1].view(-1, count).mean(0)).tolist()
        return {f"{name}_{k}": v for name, row in (("bpp", bpp), ("psnr", psnr)) for k, v in enumerate(row)}
