"""The codec's linear path in integers: latents to a picture and back, the same on every machine.

Latents become blocks of 16x16 pixels by a linear map, blocks are moved, and another makes latents of them: the linear
branches of the transforms in icm-1, maps fitted for it in icm-2. All is whole numbers: products of matrices in float64,
whose partial sums stay below 2**53 and are therefore exact in any order, whichever library multiplies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.latents import LATENT_MAX, STRIDE
from icm.codec.native import library
from icm.codec.predict.requantise import OCTAVE_STEPS, octaves_at, powers_of
from icm.errors import BundleError

PIXELS = STRIDE * STRIDE * 3
"""Numbers of a block."""
LEVEL_STEPS = 16
"""Units of a linear picture per grey level."""
PIXEL_MAX = 256 * LEVEL_STEPS - 1
"""Its values are clipped to -PIXEL_MAX..PIXEL_MAX, 0 being the middle grey of 127.5."""
EIGHTHS = 8
"""Units of predicted latents per quantisation step."""
WEIGHT_BITS = 16
"""The maps' weights are whole numbers of 2**-16."""
_LATENT_STEPS = 16
"""Units per 1 of a latent that no gain is applied to; a quantisation step has hundreds."""
_UNSCALED_MAX = (1 << 19) - 1
_SCALED_MAX = LATENT_MAX * EIGHTHS
_EXACT = 1 << 53
_AT_ONCE = 2048
"""Positions that are computed together, so that the largest picture takes no more memory than an ordinary one."""


class LinearSynthesis:
    """A linear map of a codec from latents to pictures. Safe to use from several threads.

    Attributes:
        synthesis: as given to ``__init__``.
        octaves: as given to ``__init__``.
        lengths: of a latent of 1 that no gain is applied to, in grey levels, the root of its block's summed squares,
            float32[M].
    """

    def __init__(self, synthesis: NDArray[np.int32], octaves: NDArray[np.int32]) -> None:
        """Creates it from its map.

        Args:
            synthesis: int32[768, M], latents to blocks in 2**-16; a block counts row by row, colours innermost.
            octaves: int32[levels, M], logarithms of the gains as for ``requantise``.

        Raises:
            BundleError: the map does not fit the gains, or its sums could become inexact.
        """
        if synthesis.shape != (PIXELS, octaves.shape[1]):
            raise BundleError("the linear maps of latents to pictures do not fit the codec")
        if np.abs(synthesis).astype(np.float64).sum(1).max() * _UNSCALED_MAX >= _EXACT:
            raise BundleError("the linear maps of latents to pictures are too large for their sums to be exact")
        self.synthesis, self.octaves = synthesis, octaves
        self.lengths = (np.linalg.norm(synthesis.astype(np.float64), axis=0) / (1 << WEIGHT_BITS)).astype(np.float32)
        self._synthesis = synthesis.astype(np.float64)

    def blocks(self, latents: NDArray[np.int16], quality: int) -> NDArray[np.int16]:
        """Latents int16[K, M] of a quality in sixteenths of a level -> K blocks of the picture, int16[K, 16, 16, 3]."""
        count, channels = latents.shape
        power = powers_of(OCTAVE_STEPS * _log2(_LATENT_STEPS) - octaves_at(self.octaves, quality), _UNSCALED_MAX)
        shift = WEIGHT_BITS + _log2(_LATENT_STEPS) - _log2(LEVEL_STEPS)
        blocks = np.empty((count, PIXELS), np.int16)
        for some in slices(count):
            part = np.ascontiguousarray(latents[some])
            unscaled = np.empty(part.shape)
            library.unscaled(part, len(part), channels, power, _UNSCALED_MAX, unscaled)
            sums = _product(unscaled, self._synthesis.T)
            library.pixels(sums, sums.size, shift, PIXEL_MAX, blocks[some])
        return blocks.reshape(-1, STRIDE, STRIDE, 3)


class LinearPath(LinearSynthesis):
    """Both linear maps through which latents are moved. Safe to use from several threads.

    Attributes:
        analysis: as given to ``__init__``.
    """

    def __init__(self, analysis: NDArray[np.int32], synthesis: NDArray[np.int32], octaves: NDArray[np.int32]) -> None:
        """Creates the path from its maps.

        Args:
            analysis: int32[M, 768], blocks to latents in 2**-16.
            synthesis: as for ``LinearSynthesis``.
            octaves: as for ``LinearSynthesis``.

        Raises:
            BundleError: the maps do not fit together, or their sums could become inexact.
        """
        super().__init__(synthesis, octaves)
        if analysis.shape != (octaves.shape[1], PIXELS):
            raise BundleError("the linear path's maps do not fit the codec")
        if np.abs(analysis).astype(np.float64).sum(1).max() * PIXEL_MAX >= _EXACT:
            raise BundleError("the linear path's maps are too large for their sums to be exact")
        self.analysis = analysis
        self._analysis = analysis.astype(np.float64)

    def latents(self, blocks: NDArray[np.float64], quality: int) -> NDArray[np.int32]:
        """K blocks, whole numbers float64[K, 768] -> latents of a quality in eighths of a step, int32[K, M]."""
        count, channels = len(blocks), len(self._analysis)
        power = powers_of(
            OCTAVE_STEPS * (_log2(EIGHTHS) - _log2(_LATENT_STEPS)) + octaves_at(self.octaves, quality), _SCALED_MAX
        )
        shift = WEIGHT_BITS + _log2(LEVEL_STEPS) - _log2(_LATENT_STEPS)
        scaled = np.empty((count, channels), np.int32)
        for some in slices(count):
            sums = _product(blocks[some], self._analysis.T)
            library.scaled(sums, len(sums), channels, shift, power, _SCALED_MAX, scaled[some])
        return scaled


def linear_weights(matrix: NDArray[np.float32]) -> NDArray[np.int32]:
    """A linear map as the whole numbers that ship."""
    whole: NDArray[np.int32] = np.rint(matrix.astype(np.float64) * (1 << WEIGHT_BITS)).astype(np.int32)
    return whole


def slices(count: int) -> list[slice]:
    """Positions in parts that are computed together."""
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _log2(power: int) -> int:
    return power.bit_length() - 1


def _product(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = one @ other
    return product
