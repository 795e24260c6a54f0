"""Bjontegaard's average difference in bits at equal detection, by the package ``bjontegaard``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from bjontegaard import bd_rate as bjontegaard_rate
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curve:
    """A codec's points: bits per pixel float[K], and what they are worth to a detector, float[K], 0..1."""

    bpp: NDArray[np.float64]
    worth: NDArray[np.float64]

    def rising(self) -> Curve:
        """Its points in order of bits without those that cost more than another and are worth no more.

        Where detection saturates, a curve of 128 photos goes up and down; bits as a function of worth need it to rise.
        """
        order = np.lexsort((-self.worth, self.bpp))
        bpp, worth = self.bpp[order], self.worth[order]
        best_so_far = np.maximum.accumulate(np.concatenate(([-np.inf], worth[:-1])))
        return Curve(bpp[worth > best_so_far], worth[worth > best_so_far])


def bd_rate(anchor: Curve, test: Curve) -> float:
    """How many per cent more bits ``test`` takes than ``anchor`` for the same worth; negative if it takes fewer.

    Averaged over the worth that both curves reach, log bits interpolated by monotone cubics (pchip). NaN if they reach
    none in common or a curve has fewer than two rising points.
    """
    first, second = anchor.rising(), test.rising()
    low, high = max(first.worth[0], second.worth[0]), min(first.worth[-1], second.worth[-1])
    if min(len(first.bpp), len(second.bpp)) < 2 or low >= high:
        return float("nan")
    with warnings.catch_warnings():
        # Steep curves such as JPEG's share less of their worth with ours than the package likes; the share is reported.
        warnings.simplefilter("ignore")
        rate = bjontegaard_rate(
            first.bpp, first.worth, second.bpp, second.worth,
            method="pchip", require_matching_points=False, min_overlap=0,
        )  # fmt: skip
    return float(rate)


def overlap(anchor: Curve, test: Curve) -> tuple[float, float]:
    """Least and greatest worth that both curves reach: what ``bd_rate`` averages over."""
    return float(max(anchor.worth.min(), test.worth.min())), float(min(anchor.worth.max(), test.worth.max()))


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of bootstrap values float[R], leaving out NaN."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def centred_interval(value: float, values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval around a figure over all photos, from bootstrap values float[R] of it (basic bootstrap).

    A sample of photos has fewer classes, and its mAP is higher on the average; taking the distance between samples and
    the whole with the opposite sign puts that right.
    """
    low, high = interval(values)
    return 2 * value - high, 2 * value - low
