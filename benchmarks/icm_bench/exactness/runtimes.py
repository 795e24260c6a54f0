"""Everything that may compute the integer networks, as bundles that differ in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import CONTEXT, MOTION, TEMPORAL
from icm.codec.entropy.context import PHASES, ContextModel
from icm.codec.entropy.integer_network import MEAN_STEPS, SCALE_COUNT, IntegerNetwork
from icm.codec.entropy.residuals import DifferenceModel
from icm.codec.latents.latents import LATENT_MAX
from icm.codec.motion.linear_path import LinearPath
from icm.codec.motion.model import MotionModel
from icm.codec.payload.inter import InterEntropyModel
from icm.codec.payload.intra import IntraEntropyModel
from icm_bench.exactness.integer_reference import InIntegers, InSession, InTorch, PathInIntegers, layers_of

HYPER_DECODER = "hyper_decoder.onnx"
Make = Callable[[Path], IntegerNetwork]
"""What computes the network of a file."""


class Computed(IntegerNetwork):
    """An integer network whose results something else than the shipped code computes."""

    def __init__(self, results: Callable[[NDArray[np.generic], int], NDArray[Any]]) -> None:
        """Creates a network whose results a function computes.

        Args:
            results: returns, for what is known and a level, whole numbers of any type, the means and then the indexes.
        """
        self._results = results

    def __call__(self, known: NDArray[np.generic], level: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        means, indexes = np.split(self._results(known, level).astype(np.int64), 2, axis=1)
        limit = LATENT_MAX * MEAN_STEPS
        return means.clip(-limit, limit).astype(np.int32), indexes.clip(0, SCALE_COUNT - 1).astype(np.uint8)


def _optimised(optimisation: onnxruntime.GraphOptimizationLevel) -> Make:
    return lambda network: Computed(InSession(network, 1, optimisation))


def _disturbed(name: str) -> Make:
    """Everything as shipped, but in one network the last layer's first filter has each weight larger by 1, the least
    there is. (Of a single weight the rounding often leaves nothing.)"""

    def make(network: Path) -> IntegerNetwork:
        if network.name != name:
            return IntegerNetwork(network, 1)
        *others, last = layers_of(network)
        weights = last.weights.copy()
        weights[0] += 1
        return Computed(InTorch([*others, replace(last, weights=weights)]))

    return make


RUNTIMES: dict[str, Make] = {
    "ONNX Runtime, 1 thread": partial(IntegerNetwork, threads=1),
    "ONNX Runtime, 2 threads": partial(IntegerNetwork, threads=2),
    "ONNX Runtime, 4 threads": partial(IntegerNetwork, threads=4),
    "ONNX Runtime, basic optimisation": _optimised(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC),
    "ONNX Runtime, no optimisation": _optimised(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
    "torch": lambda network: Computed(InTorch(layers_of(network))),
    "NumPy, 64-bit integers": lambda network: Computed(InIntegers(layers_of(network))),
}
"""The first three as the services run them, with all optimisations."""


def _disturbed_path(path: LinearPath) -> LinearPath:
    """A linear path with one latent's weights larger by 1 each, the least there is."""
    analysis = path.analysis.copy()
    analysis[0] += 1
    return LinearPath(analysis, path.synthesis, path.octaves)


LINEAR_CONTROL = "linear path, a latent's weights + 1"
CONTROLS: dict[str, Make] = {
    f"{name}, a filter + 1": _disturbed(name) for name in (HYPER_DECODER, CONTEXT[0], MOTION[0])
} | {LINEAR_CONTROL: partial(IntegerNetwork, threads=1)}
"""Faults that a comparison of latents must find."""
PATHS: dict[str, Callable[[LinearPath], LinearPath]] = {
    "NumPy, 64-bit integers": lambda path: PathInIntegers(path.analysis, path.synthesis, path.octaves),
    LINEAR_CONTROL: _disturbed_path,
}
"""What else than the shipped code computes the linear path, by runtime or control."""


def bundle_in(bundle: Bundle, make: Make, path: Callable[[LinearPath], LinearPath] | None = None) -> Bundle:
    """The same bundle with its integer networks, and its linear path, computed this way."""
    entropy, context, temporal = bundle.entropy, bundle.entropy.context, bundle.temporal
    groups = [context.order[context.group(step)] for step in range(0, len(context), PHASES)]
    steps = [make(bundle.folder / name) for name in CONTEXT]
    other, motion = copy(bundle), bundle.motion
    if motion is not None:
        following = [make(bundle.folder / name) for name in MOTION]
        linear = path(motion.path) if path else motion.path
        motion = MotionModel(linear, _differences_in(motion.differences, following), motion.tables, motion.search)
    other.entropy = IntraEntropyModel(
        make(bundle.folder / HYPER_DECODER),
        ContextModel(steps, groups),
        entropy.latent_tables,
        entropy.hyper_tables,
        entropy.skip_map_tables,
        entropy.levels,
        entropy.latent_channels,
        motion,
    )
    other.motion = motion
    if temporal is not None:
        moving = [make(bundle.folder / name) for name in TEMPORAL]
        other.temporal = InterEntropyModel(_differences_in(temporal.differences, moving), temporal.skip_map_tables)
    return other


def _differences_in(model: DifferenceModel, networks: Sequence[IntegerNetwork]) -> DifferenceModel:
    groups = [model.channels.order[place] for place in model.channels.slices]
    return DifferenceModel(networks, groups, model.tables)
