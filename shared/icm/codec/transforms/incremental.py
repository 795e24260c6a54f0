"""Analysis and synthesis of a camera that stands still: what did not change is not computed again.

A changed block reaches a few blocks around it through the convolutions. Both classes follow it layer by layer and
compute just the positions that it reaches, so the result is that of the whole network. Where much of a picture
changes, the whole network is quicker, and then runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.change_detection import NOISE_THRESHOLD, ChangeDetector
from icm.codec.transforms.networks import Analysis, Synthesis
from icm.codec.transforms.sparse.analysis import AnalysisState, SparseAnalysis
from icm.codec.transforms.sparse.gated_analysis import GatedAnalysisState, SparseGatedAnalysis
from icm.codec.transforms.sparse.gated_synthesis import GatedSynthesisState, SparseGatedSynthesis
from icm.codec.transforms.sparse.planes import Mask, dilated
from icm.codec.transforms.sparse.synthesis import SparseSynthesis, SynthesisState

AnalysisLayers = SparseAnalysis | SparseGatedAnalysis
SynthesisLayers = SparseSynthesis | SparseGatedSynthesis

_ANALYSIS_REACH, _SYNTHESIS_REACH = 2, 2
"""Blocks that a change is taken to reach, on average over the layers, when estimating what following it costs."""
_MOST = 0.6
"""Share of the picture reached by changes from which on the whole network is quicker."""
_MOST_TO_START = 0.4
"""The same while no features are kept: to compute them all takes as long as several whole networks."""
_LEVELS = 0.25
"""See ``SynthesisState``; keeps pixels of pictures within 1 of 255."""


class IncrementalAnalysis:
    """g_a of one camera's pictures, one after the other. Not thread-safe."""

    def __init__(self, analysis: Analysis, layers: AnalysisLayers | None, threshold: float = NOISE_THRESHOLD) -> None:
        """Creates an analysis that has seen no picture yet.

        Args:
            analysis: the network for whole pictures.
            layers: the same network; None where whole pictures are quicker in any case, as on a GPU.
            threshold: of a ``ChangeDetector``.
        """
        self._analysis, self._layers, self._changes = analysis, layers, ChangeDetector(threshold)
        self._seen = np.empty((0, 0, 3), np.uint8)
        self._latents = np.empty((0, 0, 0), np.float32)
        self._levels = np.empty(0, np.float32)
        self._state: AnalysisState | GatedAnalysisState | None = None

    def latents(self, image: NDArray[np.uint8], levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], Mask]:
        """The latents of the picture in which every block shows what it did when it last changed.

        Args:
            image: uint8[H, W, 3] RGB.
            levels: float32[levels], see ``Analysis``.

        Returns:
            Latents before any gain, float32[M, ceil(H/16), ceil(W/16)], valid until the next call and not to be
            written to, and bool[h, w], those that may differ from the last call's.
        """
        image = whole_blocks(image)
        if image.shape != self._seen.shape:
            return self._whole(image, levels)
        changed = self._changes.changed(image, self._seen, _MOST)
        if self._analysis.knows_level and not np.array_equal(levels, self._levels):
            # No feature is what it was at the other level.
            seen = self._seen.copy()
            _blocks(seen)[changed] = _blocks(image)[changed]
            return self._whole(seen, levels)
        if not changed.any():
            return self._latents, changed
        reached = dilated(changed, _ANALYSIS_REACH).mean()
        if self._layers is None or reached > (_MOST if self._state else _MOST_TO_START):
            return self._whole(image, levels)
        if self._state is None:
            self._seen = image.copy()
            self._state = self._layers.begin(self._seen, levels)
            updated = np.ones_like(changed)
        else:
            _blocks(self._seen)[changed] = _blocks(image)[changed]
            updated = self._state.update(self._seen, changed)
        self._latents[:, updated] = self._state.latents(updated)
        return self._latents, updated

    def _whole(self, image: NDArray[np.uint8], levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], Mask]:
        self._seen, self._levels, self._state = image.copy(), levels, None
        self._latents = self._analysis.unscaled(image, levels)
        return self._latents, np.ones(self._latents.shape[1:], bool)


class IncrementalSynthesis:
    """g_s of one camera's latents, frame after frame. Not thread-safe."""

    def __init__(self, synthesis: Synthesis, layers: SynthesisLayers | None) -> None:
        """Creates a synthesis that has made no picture yet.

        Args:
            synthesis: the network for whole pictures.
            layers: the same network; None where whole pictures are quicker in any case, as on a GPU.
        """
        self._synthesis, self._layers = synthesis, layers
        self._latents = np.empty((0, 0, 0), np.int16)
        self._ungains = np.empty(0, np.float32)
        self._picture = np.empty((0, 0, 3), np.uint8)
        self._state: SynthesisState | GatedSynthesisState | None = None

    def picture(
        self, latents: NDArray[np.int16], inverse_gains: NDArray[np.float32], levels: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """The picture of latents, within 1 of the whole network's.

        Of latents that no picture has, a gated network's features may be so large that float32 itself is off by grey
        levels; then the whole network runs.

        Args:
            latents: int16[M, h, w].
            inverse_gains: float32[M].
            levels: float32[levels], see ``Analysis``.

        Returns:
            uint8[16h, 16w, 3] RGB.
        """
        same = latents.shape == self._latents.shape and np.array_equal(inverse_gains, self._ungains)
        if not same:  # another quality has other ungains
            return self._whole(latents, inverse_gains, levels)
        changed: Mask = (latents != self._latents).any(0)
        if not changed.any():
            return self._picture.copy()
        reached = dilated(changed, _SYNTHESIS_REACH).mean()
        if self._layers is None or reached > (_MOST if self._state else _MOST_TO_START):
            return self._whole(latents, inverse_gains, levels)
        self._latents = latents
        if self._state is None:
            self._state = self._layers.begin(latents * inverse_gains[:, None, None], levels, _LEVELS)
        else:
            self._state.update(latents[:, changed].T * inverse_gains, changed)
        if not self._state.exact:
            return self._whole(latents, inverse_gains, levels)
        self._picture = self._state.picture
        return self._picture.copy()

    def _whole(
        self, latents: NDArray[np.int16], inverse_gains: NDArray[np.float32], levels: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        self._latents, self._ungains, self._state = latents, inverse_gains, None
        self._picture = self._synthesis.pictures(latents[None], inverse_gains[None], levels[None])[0]
        return self._picture.copy()


def whole_blocks(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its last row and column repeated until both sides are multiples of 16."""
    height, width = image.shape[:2]
    if height % STRIDE or width % STRIDE:
        image = np.pad(image, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    return image


def _blocks(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A view of a picture as its blocks, uint8[h, w, 16, 16, 3]."""
    rows, columns = image.shape[0] // STRIDE, image.shape[1] // STRIDE
    return image.reshape(rows, STRIDE, columns, STRIDE, 3).swapaxes(1, 2)
