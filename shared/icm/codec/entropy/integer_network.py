"""The networks that turn what is known already into means and table indexes, in integers throughout.

ONNX Runtime computes it in float32 on the CPU, where convolutions are fast. As its weights and activations are whole
numbers and no partial sum can reach 2**24 (checked when it is made), every operation is exact and the order of
operations does not matter: every machine, thread count and optimisation gets the same integers.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import LATENT_MAX
from icm.codec.native import library
from icm.codec.transforms.networks import PointwiseTransform, Transform

ACTIVATION_MAX = 255
MEAN_SHIFT = 3
MEAN_STEPS = 1 << MEAN_SHIFT
"""Mean units per 1 of a latent."""
SCALE_COUNT = 64
NETWORK_INPUTS = ("known", "level")


class IntegerNetwork:
    """Convolutions in integers. Safe to call from several threads."""

    def __init__(self, model: Path | bytes, threads: int, *, pointwise: bool = False) -> None:
        """Loads the ONNX graph from a file or its bytes; always on the CPU.

        Args:
            threads: CPU threads of one call; 0 for one per core.
            pointwise: whether all its convolutions are 1x1, which makes no difference to what it gives.

        Raises:
            BundleError: it is no network that ONNX Runtime can run.
        """
        self._network = (PointwiseTransform if pointwise else Transform)(model, threads, "cpu")

    def __call__(self, known: NDArray[np.generic], level: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Predicts latents.

        Args:
            known: whole numbers [B, C, rows, columns].
            level: the quality level whose biases hold.

        Returns:
            Means int32[B, M, ...] in 1/8 and scale indexes uint8 of the same shape, 0..63.
        """
        known = known.astype(np.float32, copy=False)
        result = self._network(known, np.array([level]))
        count, channels, *plane = result.shape
        shape = count, channels // 2, *plane
        means, indexes = np.empty(shape, np.int32), np.empty(shape, np.uint8)
        limit = LATENT_MAX * MEAN_STEPS
        library.predictions(result, count, math.prod(shape[1:]), limit, SCALE_COUNT - 1, means, indexes)
        return means, indexes
