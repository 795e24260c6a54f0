"""One training step after another: a codec, its optimisers and the running average of its weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from icm_train.learning.optimisers import Optimisers
from icm_train.learning.photos import TrainingCrops
from icm_train.learning.recipe import Recipe
from icm_train.losses.rate_distortion import bits_per_pixel, squared_error
from icm_train.models.codec import CodecOutput, TrainableCodec
from icm_train.schedule import warm_up

log = logging.getLogger(__name__)

_REMEMBERED = 200
"""Steps that the usual loss and gradient are taken over."""
_ENOUGH = 50
"""Steps from which on they are known."""
_SPIKE = 8.0
"""A gradient this many times the median one, or a loss, is a spike."""


@dataclass(frozen=True)
class StepResult:
    """What one step came to: loss, norm of its gradient, and whether it was skipped as a spike."""

    loss: float
    gradient: float
    skipped: bool


class Learner:
    """Trains one codec. Its state after n steps follows from start and recipe alone, wherever it was stopped."""

    def __init__(self, codec: TrainableCodec, recipe: Recipe, crops: TrainingCrops) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.codec = codec.to(self.device).train()
        self._forward: Callable[..., CodecOutput] = torch.compile(self.codec) if recipe.compiled else self.codec
        self.recipe, self.crops = recipe, crops
        self.optimisers = Optimisers(self.codec, recipe)
        self.average = {name: value.detach().clone().float() for name, value in _averaged(self.codec).items()}
        self.step = 0
        self.optimiser_since = 0
        """The step at which the optimisers began, from which the learning rate rises."""
        self._lambdas = torch.tensor(codec.config.lambdas, device=self.device)
        self._weights = (self._lambdas / self._lambdas.median()) ** -recipe.level_balance
        self._recent = torch.full((2, _REMEMBERED), math.nan)
        """Losses and gradient norms of the last steps that were no spikes, a ring."""

    def advance(self, share: float) -> StepResult:
        """Takes one step at this share of the peak learning rates.

        A step whose loss or gradient is not finite, or far above the usual, leaves the weights as they are.
        """
        image = self.crops.batch(self.step).to(self.device).float().div(255)
        # The noise of a step follows from its number too, so that a run may stop and go on anywhere.
        torch.manual_seed(hash((self.recipe.seed, self.step)))
        self.step += 1
        loss = self._loss(image.contiguous(memory_format=torch.channels_last))
        self.codec.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.codec.parameters(), self.recipe.clip))
        value = float(loss.detach())
        if self._is_spike(value, norm):
            log.warning("step %d skipped: loss %.4g, gradient %.4g", self.step, value, norm)
            return StepResult(value, norm, True)
        self._recent[:, self.step % _REMEMBERED] = torch.tensor([value, norm])
        self.optimisers.step(share * warm_up(self.step - 1 - self.optimiser_since, self.recipe.warmup))
        # Early on the average follows closely: what the weights were at the start says nothing.
        kept = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, tensor in _averaged(self.codec).items():
                self.average[name].lerp_(tensor, 1 - kept)
        return StepResult(value, norm, False)

    def averaged(self) -> TrainableCodec:
        """A codec with the averaged weights, on the same device."""
        codec = TrainableCodec(self.codec.config).to(self.device)
        codec.load_state_dict(self.codec.state_dict() | self.average)
        return codec.eval()

    def state(self) -> dict[str, Tensor]:
        """All that a later run needs to go on exactly here, by name."""
        parts = {
            "codec": self.codec.state_dict(),
            "average": self.average,
            "optimiser": self.optimisers.state(),
            "recent": {"ring": self._recent},
        }
        return {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}

    def load(self, state: dict[str, Tensor], step: int) -> None:
        """Goes on from what ``state`` gave after this many steps; without an optimiser's state, that begins anew."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = value
        # A likelihood's shape that was chosen since stays as it starts, one that was given up is dropped.
        mine = self.codec.state_dict()
        self.codec.load_state_dict(mine | {name: value for name, value in parts["codec"].items() if name in mine})
        for name in self.average.keys() & parts["average"].keys():
            self.average[name] = parts["average"][name].to(self.device)
        if "optimiser" in parts:
            self.optimisers.load(parts["optimiser"])
        self._recent = parts["recent"]["ring"].clone()
        self.step = step

    def _loss(self, image: Tensor) -> Tensor:
        count, batch = len(self._lambdas), len(image)
        if self.recipe.levels == "all":
            levels = torch.arange(count, device=self.device).repeat(batch // count)
        else:
            levels = torch.randint(count, (batch,)).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self._forward(image, levels, self.recipe.rate_on, decoder_sees=self.recipe.decoder_sees)
        cost = bits_per_pixel(output) + self._lambdas[levels] * squared_error(output.image, image).mean((1, 2))
        return (cost * self._weights[levels]).mean()

    def _is_spike(self, loss: float, norm: float) -> bool:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return True
        if int(self._recent[0].isfinite().sum()) < _ENOUGH:
            return False
        usual = self._recent.nanmedian(1).values
        return loss > _SPIKE * float(usual[0]) or norm > _SPIKE * float(usual[1])


def _averaged(codec: TrainableCodec) -> dict[str, Tensor]:
    """What moves: the parameters, by name. Buffers are constants."""
    return dict(codec.named_parameters())
