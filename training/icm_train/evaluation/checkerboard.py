"""How strongly pictures carry the pattern that strided layers leave, as a number.

A layer of stride s treats its s * s output phases differently; what that leaves repeats every s pixels and shows in the
power spectrum at the harmonics (a/s, b/s). The score of a stride is how far these stand out of their surroundings, in
dB. Photos have a score of their own (those stored as JPEG carry a grid of 8 pixels), so a codec is judged by the
difference to the originals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRIDES = (2, 4, 8, 16)
GONE_BELOW = 1.0
"""dB: with the upper bound of the excess of every stride below it, the checkerboard counts as gone."""

PATCH = {2: 64, 4: 64, 8: 64, 16: 128}
"""Pixels a side by stride, so that harmonics lie at least eight bins apart."""
_LOWEST = 0.1
"""Cycles a pixel. Below it, next to the axes, the spectrum of photos is too steep for a ring to say what is usual."""
LEAST_VARIANCE = 1.0
"""Grey levels squared; flatter patches are not blown up further."""
LUMA = np.array([0.299, 0.587, 0.114])
RING = [(dy, dx) for dy in range(-3, 4) for dx in range(-3, 4) if max(abs(dy), abs(dx)) >= 2]
"""Two to three bins away: the window spreads a harmonic over one bin to each side, and the next is eight bins off."""
_RESAMPLES = 200


@dataclass(frozen=True)
class Excess:
    """What a codec adds to the score of a stride, dB: over all pictures, and the 95 % bootstrap upper bound."""

    mean: float
    upper: float

    @property
    def gone(self) -> bool:
        """Whether the checkerboard counts as gone."""
        return self.upper < GONE_BELOW


def checkerboard_scores(pictures: Sequence[NDArray[np.generic]]) -> dict[int, float]:
    """The score of every stride in ``STRIDES``, dB; about 0 for pictures without a pattern.

    Args:
        pictures: [H, W, 3] RGB or [H, W] luma each, 0..255, of any type; sides of at least 128 pixels.

    Raises:
        ValueError: a picture is smaller than a patch.
    """
    spectra = {size: _spectra(pictures, size) for size in set(PATCH.values())}
    return {stride: float(_score(spectra[PATCH[stride]].mean(0)[np.newaxis], stride)[0]) for stride in STRIDES}


def checkerboard_excess(
    decoded: Sequence[NDArray[np.generic]], originals: Sequence[NDArray[np.generic]]
) -> dict[int, Excess]:
    """C_s(decoded) - C_s(originals) by stride, with the upper bound over bootstrap samples of the pictures.

    Args:
        decoded: as for ``checkerboard_scores``.
        originals: as for ``checkerboard_scores``, in the same order.

    Raises:
        ValueError: a picture is smaller than a patch.
    """
    # Every sample as how often it takes each picture.
    count = len(originals)
    random = np.random.default_rng(0)
    weights = random.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) / count
    spectra = {size: (_spectra(originals, size), _spectra(decoded, size)) for size in set(PATCH.values())}
    excess = {}
    for stride in STRIDES:
        before, after = spectra[PATCH[stride]]
        mean = _score(after.mean(0)[np.newaxis], stride)[0] - _score(before.mean(0)[np.newaxis], stride)[0]
        samples = [_score(np.tensordot(weights, spectra, 1), stride) for spectra in (after, before)]
        excess[stride] = Excess(float(mean), float(np.percentile(samples[0] - samples[1], 95)))
    return excess


def plant_grid(picture: NDArray[np.uint8], stride: int, amplitude: float = 0.5) -> NDArray[np.float64]:
    """The picture with a pattern of that stride, as a control: each of its phases is off by the amplitude, up or down.

    Args:
        picture: uint8[H, W, 3].
        amplitude: grey levels.

    Returns:
        float64[H, W, 3], not rounded.
    """
    height, width = picture.shape[:2]
    signs = np.random.default_rng(stride).permutation(np.resize([-amplitude, amplitude], stride * stride))
    tile = signs.reshape(stride, stride)
    pattern = np.tile(tile, (-(-height // stride), -(-width // stride)))[:height, :width]
    planted: NDArray[np.float64] = picture + pattern[:, :, np.newaxis]
    return planted


def _spectra(pictures: Sequence[NDArray[np.generic]], size: int) -> NDArray[np.float64]:
    """Of each picture, float64[N, size, size]."""
    return np.stack([_spectrum(picture, size) for picture in pictures])


def _spectrum(picture: NDArray[np.generic], size: int) -> NDArray[np.float64]:
    """Mean power spectrum float64[size, size] of half-overlapping Hann-windowed patches of unit variance."""
    luma = np.asarray(picture, np.float64)
    luma = luma @ LUMA if luma.ndim == 3 else luma
    if min(luma.shape) < size:
        raise ValueError(f"a picture of {luma.shape[1]}x{luma.shape[0]} is smaller than a patch of {size} pixels")
    views = np.lib.stride_tricks.sliding_window_view(luma, (size, size))[:: size // 2, :: size // 2]
    patches = views.reshape(-1, size, size)
    variance = np.maximum(patches.var((1, 2), keepdims=True), LEAST_VARIANCE)
    window = np.hanning(size + 1)[:size]
    centred = (patches - patches.mean((1, 2), keepdims=True)) / np.sqrt(variance)
    power: NDArray[np.float64] = np.square(np.abs(np.fft.fft2(centred * np.outer(window, window)))).mean(0)
    return power


def _score(power: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Of mean power spectra float64[K, size, size], float64[K]: the mean over the stride's harmonics, in dB."""
    size = power.shape[-1]
    step = size // stride
    total = np.zeros(len(power))
    counted = harmonics(stride)
    for a, b in counted:
        y, x = a * step, b * step
        around = np.stack([power[:, (y + dy) % size, (x + dx) % size] for dy, dx in RING])
        total += 10 * np.log10(power[:, y, x] / np.median(around, axis=0))
    return total / len(counted)


def harmonics(stride: int) -> list[tuple[int, int]]:
    """(a, b) of the frequencies (a/s, b/s) that count; of each and its mirror image, which are equal, one."""
    kept = []
    for a in range(stride):
        for b in range(stride):
            highest = max(min(a, stride - a), min(b, stride - b)) / stride
            mirrored = (-a % stride, -b % stride)
            if highest >= _LOWEST and (a, b) <= mirrored:
                kept.append((a, b))
    return kept
