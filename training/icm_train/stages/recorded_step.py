"""A whole optimiser step of a codec's training, recorded once on a GPU and played back.

A step is some two thousand small kernels, and a processor core would start them more slowly than an H200 does them. So
crops, forward and backward passes, optimiser and running average are one CUDA graph, which a core starts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_CLIP = 5.0
"""Largest norm of the gradient."""
_BEFORE = 4
"""Steps that are taken before one is recorded, so that all libraries have chosen what they do; at a rate of 0."""

Objective = Callable[[], tuple[Tensor, Mapping[str, Tensor]]]
"""Draws crops; the loss, a scalar, and what else is told of the step."""


class RecordedStep:
    """One step, played back: it moves the weights, and their running average behind them."""

    def __init__(
        self, weights: list[Tensor], average: list[Tensor], kept: float, optimiser: torch.optim.Optimizer
    ) -> None:
        """Nothing is recorded yet.

        Args:
            weights: those that the average is of, on the GPU.
            average: in the same order.
            kept: how much of the average a step leaves, 0..1.
            optimiser: Adam made with ``fused`` and ``capturable``, its rates tensors on the GPU.
        """
        self._weights, self._average, self._kept, self._optimiser = weights, average, kept, optimiser
        self._graph: torch.cuda.CUDAGraph | None = None
        self._told: dict[str, Tensor] = {}
        self._norm = torch.zeros(())
        # Read by the optimiser, which leaves the weights alone where it is 1.
        optimiser.found_inf = torch.zeros((), device=weights[0].device)  # type: ignore[attr-defined]

    def __call__(self, objective: Objective) -> tuple[Mapping[str, Tensor], Tensor]:
        """Takes the step; ``objective`` is called while it is recorded only.

        Returns:
            What ``objective`` told of this step, and the norm of the gradient.
        """
        if self._graph is None:
            self._graph = self._record(objective)
        self._graph.replay()
        return {name: value.clone() for name, value in self._told.items()}, self._norm

    def _record(self, objective: Objective) -> torch.cuda.CUDAGraph:
        rates = [group["lr"].clone() for group in self._optimiser.param_groups]
        for group in self._optimiser.param_groups:
            group["lr"].zero_()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_BEFORE):
                self.single(objective)
        torch.cuda.current_stream().wait_stream(side)
        self._optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            told, self._norm = self.single(objective)
        self._told = dict(told)
        for group, rate in zip(self._optimiser.param_groups, rates, strict=True):
            group["lr"].copy_(rate)
        return graph

    def single(self, objective: Objective) -> tuple[Mapping[str, Tensor], Tensor]:
        """Takes the step without recording it; returns as a call does. A gradient that is not finite moves nothing."""
        self._optimiser.zero_grad(set_to_none=True)
        loss, told = objective()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._weights, _CLIP)
        spoilt: Tensor = self._optimiser.found_inf  # type: ignore[attr-defined]
        spoilt.copy_(~torch.isfinite(norm))
        self._optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._average, self._weights, 1 - self._kept)
        return told, norm
