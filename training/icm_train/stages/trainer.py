"""What the stages share that train the whole codec: every quality level in every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icm_train.data.device_crops import DeviceCrops
from icm_train.data.photo_shard import Batch, Crops
from icm_train.losses.rate_distortion import bits_per_pixel, squared_error
from icm_train.models.codec import CodecOutput, RateOn, TrainableCodec
from icm_train.models.grow_latents import copy_weights
from icm_train.models.networks import NetworkConfig
from icm_train.schedule import load_optimiser, set_rates
from icm_train.stages.loop import Loop, Metrics, Pace, Stage, training_device
from icm_train.stages.recorded_step import RecordedStep
from icm_train.weights.checkpoint import load_codec


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of every stage that trains the whole codec.

    Attributes:
        steps: optimiser steps in all; the learning rate falls along a cosine to 2 % over them.
        batch: pictures a step, a multiple of the number of quality levels.
        crop: side of the pictures, pixels.
        rate: peak learning rate of the networks.
        gain_rate: peak learning rate of the gains.
        linear_rate: peak learning rate of the two linear transforms that start as a DCT.
        warmup: steps over which the learning rate rises.
        level_balance: level weights are (lambda / median lambda) ** -level_balance, so that the best levels, whose
            cost is largest, do not drown the others.
        rate_on: what the rate is taken of; see ``TrainableCodec.forward``.
        freeze_encoder: whether analysis and gains stay as they are. Rounding gives the entropy model the true rate but
            the encoder no reason to make small latents smaller, so a run on rounded latents freezes the encoder.
        float32_synthesis: whether the synthesis computes in float32. bfloat16 leaves a pattern of 2 and 4 pixels in
            pictures, so the last run on a decoder should not use it; on a CPU a step takes twice as long.
        average: decay of the running average of the weights, which is what is exported.
        compiled: whether codec and distortion go through ``torch.compile``, which halves a GPU's step.
        save_every: steps between checkpoints.
        seed: every random number of the stage follows from it.
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
    compiled: bool = False
    save_every: int = 500
    seed: int = 1


_LOG_EVERY = 50
"""Steps."""

Distortion = Callable[[CodecOutput, Batch], Tensor]
"""Of each picture of a batch, on the 0..255 scale: float32[B]."""


class CodecTrainer(Stage):
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
        """Makes the codec, untrained.

        Args:
            name: of the stage.
            network: the codec's.
            config: settings of the stage.
            shard: photos, with masks beside them if the distortion needs any.
            folder: the run's.
            distortion: what is minimised beside the rate.
        """
        self.name, self.config, self.folder, self.distortion = name, config, folder, distortion
        self.device = training_device()
        torch.manual_seed(config.seed)
        self.codec = TrainableCodec(network).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(
            self.codec,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average),  # type: ignore[no-untyped-call]
        )
        if config.compiled:
            self.codec.compile()
            self.distortion = torch.compile(distortion)
        self.recorded: RecordedStep | None = None
        if self.device.type == "cuda":
            self.optimiser, self.recorded = self._recorded()
        else:
            self.optimiser = torch.optim.Adam(self._groups())
        self.history: list[dict[str, Any]] = []
        self.shard = shard
        self.crops = self._crops(0)
        self._norm = torch.tensor(0.0)
        lambdas = self.codec.config.lambdas
        self._levels = torch.arange(len(lambdas), device=self.device).repeat(config.batch // len(lambdas))
        self._lambdas = torch.tensor(lambdas, device=self.device)[self._levels]
        self._weights = (self._lambdas / self._lambdas.median()) ** -config.level_balance

    def run(self, start: Path | None = None) -> None:
        """Trains to the end: from the stage's own checkpoint on; else from an earlier stage's weights or statistics.

        Args:
            start: an earlier stage's checkpoint, or None for an untrained codec; it may have fewer latents.
        """
        config = self.config
        pace = Pace(config.steps, config.save_every, _LOG_EVERY, config.warmup)
        loop = Loop(self.name, self, pace, self.folder)
        if not loop.resume():
            self._begin(start)
        loop.run()

    def step(self, taken: int, share: float) -> Metrics:
        """See ``Stage.step``."""
        set_rates(self.optimiser, share)
        if self.recorded is not None:
            metrics, self._norm = self.recorded(lambda: self.objective(self.next_batch()))
            return metrics
        loss, metrics = self.objective(self.next_batch())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._norm = torch.nn.utils.clip_grad_norm_(self.codec.parameters(), 5.0)
        if torch.isfinite(self._norm):
            self.optimiser.step()
            self.average.update_parameters(self.codec)
        return metrics

    def row(self, means: Metrics) -> dict[str, float]:
        """The last gradient's norm, and of each level bits per pixel and PSNR in dB."""
        count = len(self.codec.config.lambdas)
        bpp = means["bpp"].view(-1, count).mean(0)
        psnr = 20 * math.log10(255) - 10 * means["log_mse"].view(-1, count).mean(0)
        return {"gradient_norm": float(self._norm)} | super().row({"bpp": bpp, "psnr": psnr})

    def state(self) -> dict[str, Any]:
        """See ``Stage.state``."""
        return {
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "network": asdict(self.codec.config),
            "config": asdict(self.config) | {"stage": self.name},
            "history": self.history,
        }

    def load(self, state: dict[str, Any]) -> None:
        """See ``Stage.load``."""
        self.codec.load_state_dict(state["codec"])
        self.average.load_state_dict(state["average"])
        load_optimiser(self.optimiser, state["optimiser"])
        self.history = state.get("history", [])
        self.crops = self._crops(state["step"])

    def next_batch(self) -> Batch:
        """The next crops, on the device, float32 in 0..1."""
        batch = next(self.crops)
        if isinstance(self.crops, DeviceCrops):
            return Batch(batch.image.contiguous(memory_format=torch.channels_last), batch.mask)
        image = batch.image.to(self.device).float().div(255).contiguous(memory_format=torch.channels_last)
        return Batch(image, None if batch.mask is None else batch.mask.to(self.device).float())

    def objective(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """What a step minimises.

        Returns:
            The loss, a scalar; and of each picture bits per pixel and log10 of the squared error, float32[B].
        """
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self.codec(
                batch.image, self._levels, self.config.rate_on, float32_synthesis=self.config.float32_synthesis
            )
        bpp = bits_per_pixel(output)
        loss = ((bpp + self._lambdas * self.distortion(output, batch)) * self._weights).mean()
        mse = squared_error(output.image.detach(), batch.image).mean((1, 2))
        return loss, {"bpp": bpp.detach(), "log_mse": mse.clamp_min(1e-3).log10()}

    def _begin(self, start: Path | None) -> None:
        found = None if start is None else load_codec(start)
        images = torch.cat([self.next_batch().image for _ in range(6)])
        if found is None:
            self.codec.start_from(images)
            return
        trained, provenance = found
        state = {name: tensor.to(self.device) for name, tensor in trained.state_dict().items()}
        copy_weights(self.codec, state, trained.config, images)
        self.average.module.load_state_dict(self.codec.state_dict())
        self.history = [*provenance["history"], provenance["config"]]

    def _crops(self, taken: int) -> Iterator[Batch] | DeviceCrops:
        if self.device.type == "cuda":
            torch.manual_seed(self.config.seed + taken)
            return DeviceCrops(self.shard, self.config.crop, self.config.batch, self.device)
        return iter(Crops(self.shard, self.config.crop, self.config.batch, self.config.seed + taken))

    def _recorded(self) -> tuple[torch.optim.Optimizer, RecordedStep]:
        # In TF32 the linear transforms would be off by as much as a step of the best level.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        optimiser = torch.optim.Adam(self._groups(), fused=True, capturable=True)
        for group in optimiser.param_groups:
            group["lr"] = torch.tensor(group["peak"], device=self.device)
        weights: list[Tensor] = list(self.codec.parameters())
        return optimiser, RecordedStep(weights, list(self.average.module.parameters()), self.config.average, optimiser)

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
