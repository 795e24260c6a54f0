"""Which optimiser moves which weights, and at what rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from icm_train.learning.recipe import Recipe
from icm_train.models.codec import TrainableCodec
from icm_train.schedule import set_rates

_OUTER = ("analysis.into", "analysis.out", "synthesis.out", "hyper_analysis.first", "hyper_synthesis.last")
"""Layers that read pixels or latents, or write them: Muon is meant for the matrices between these."""


class Optimisers:
    """Adam for all weights, or Muon for the matrices and Adam for the rest.

    torch's Muon takes matrices only, so a convolution's kernels are shown to it as one, row by output channel.
    """

    def __init__(self, codec: TrainableCodec, recipe: Recipe) -> None:
        self._matrices = _matrices(codec) if recipe.optimiser == "muon" else []
        # Views: what Muon writes into them is in the codec's own weights.
        self._views = [nn.Parameter(matrix.data.flatten(1)) for matrix in self._matrices]
        groups = _groups(codec, recipe, {id(matrix) for matrix in self._matrices})
        self._all: list[torch.optim.Optimizer] = [torch.optim.Adam(groups)]
        if self._views:
            matrices = {"params": self._views, "peak": recipe.matrix_rate}
            muon = torch.optim.Muon([matrices], weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
            self._all.append(muon)

    def step(self, share: float) -> None:
        """Moves the weights along their gradients, at this share of the peak rates."""
        for view, matrix in zip(self._views, self._matrices, strict=True):
            view.grad = None if matrix.grad is None else matrix.grad.flatten(1)
        for optimiser in self._all:
            set_rates(optimiser, share)
            optimiser.step()

    def state(self) -> dict[str, Tensor]:
        """Everything that a later run needs to go on, by name."""
        found: dict[str, Tensor] = {}
        for number, optimiser in enumerate(self._all):
            for index, values in optimiser.state_dict()["state"].items():
                found |= {f"{number}.{index}.{name}": value for name, value in values.items()}
        return found

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what ``state`` gave for the same codec and recipe."""
        parts: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._all]
        for name, value in state.items():
            number, index, key = name.split(".")
            parts[int(number)].setdefault(int(index), {})[key] = value
        for optimiser, part in zip(self._all, parts, strict=True):
            optimiser.load_state_dict({"state": part, "param_groups": optimiser.state_dict()["param_groups"]})


def _groups(codec: TrainableCodec, recipe: Recipe, apart: set[int]) -> list[dict[str, Any]]:
    """Adam's groups, each with its peak rate; ``apart`` are ids of weights that Muon moves."""
    rates = {"rest": recipe.rate, "gain": recipe.gain_rate, "linear": recipe.linear_rate, "level": recipe.level_rate}
    groups: dict[str, list[Tensor]] = {name: [] for name in rates}
    for name, parameter in codec.named_parameters():
        if id(parameter) not in apart:
            groups[_kind(name)].append(parameter)
    return [{"params": found, "peak": rates[name]} for name, found in groups.items() if found]


def _kind(name: str) -> str:
    if name.startswith(("gains.", "hyper_prior.", "hyper_synthesis.last_bias", "latent_bits.")):
        return "gain"
    if name in ("analysis.linear.weight", "synthesis.linear.weight"):
        return "linear"
    return "level" if ".level_" in name else "rest"


def _matrices(codec: TrainableCodec) -> list[Tensor]:
    """Kernels of the convolutions between the networks' first and last layers, depthwise ones left out."""
    return [
        layer.weight
        for name, layer in codec.named_modules()
        if isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and not name.endswith(".linear")
        and not name.startswith(_OUTER)
    ]
