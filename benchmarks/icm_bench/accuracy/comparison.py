"""Codecs compared at equal detection, with what chance in the choice of photos may do to the figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_bench.accuracy.bd_rate import Curve, bd_rate, centred_interval, interval, overlap
from icm_bench.accuracy.measurement import Measurement, resamples
from icm_bench.accuracy.picture_codecs.base import PictureCodec

MEASURES = ("mAP50-95", "mAP50")


class Curves:
    """Measurements as curves: of a codec before a detector, over all photos and over each bootstrap sample."""

    def __init__(self, photos: int) -> None:
        self._samples = resamples(photos)
        self._points: dict[tuple[str, str], list[Measurement]] = defaultdict(list)

    def add(self, detector: str, codec: str, measurement: Measurement) -> None:
        """One more point of a curve."""
        self._points[detector, codec].append(measurement)

    @property
    def codecs(self) -> list[str]:
        """Names of the codecs that have a curve, in the order they came."""
        return list(dict.fromkeys(codec for _, codec in self._points))

    @property
    def detectors(self) -> list[str]:
        """Names of the detectors that have a curve, in the order they came."""
        return list(dict.fromkeys(detector for detector, _ in self._points))

    def whole(self, detector: str, codec: str, measure: int) -> Curve:
        """Over all photos; measure is an index into ``MEASURES``."""
        points = self._points[detector, codec]
        return Curve(np.array([p.bpp() for p in points]), np.array([p.precision[measure] for p in points]))

    def resampled(self, detector: str, codec: str, measure: int) -> list[Curve]:
        """Over each bootstrap sample, the same samples for every curve."""
        points = self._points[detector, codec]
        return [
            Curve(np.array([p.bpp(sample) for p in points]), np.array([p.resampled[r, measure] for p in points]))
            for r, sample in enumerate(self._samples)
        ]


def point_row(detector: str, codec: PictureCodec, measurement: Measurement) -> dict[str, Any]:
    """A point of a curve as the results have it, with the 95 % bootstrap interval of its mAP50-95."""
    low, high = centred_interval(float(measurement.precision[0]), measurement.resampled[:, 0])
    return {
        "detector": detector,
        "codec": codec.name,
        "setting": codec.setting,
        "bpp": round(measurement.bpp(), 4),
        "map": round(float(measurement.precision[0]), 4),
        "map_low": round(low, 4),
        "map_high": round(high, 4),
        "map50": round(float(measurement.precision[1]), 4),
        "psnr": round(float(measurement.psnr.mean()), 2),
    }


def bd_rows(curves: Curves, pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """BD-rates in per cent of the first codec of each pair against the second, with 95 % paired bootstrap intervals.

    ``from`` and ``to`` bound the detection that both curves reach, over which the rate is averaged.
    """
    rows = []
    for codec, anchor in pairs:
        for detector in curves.detectors:
            for number, measure in enumerate(MEASURES):
                ours, theirs = (curves.whole(detector, name, number) for name in (codec, anchor))
                resampled = zip(
                    curves.resampled(detector, anchor, number), curves.resampled(detector, codec, number), strict=True
                )
                low, high = interval(np.array([bd_rate(*curve) for curve in resampled]))
                shared = overlap(theirs, ours)
                rows.append(
                    {"detector": detector, "codec": codec, "against": anchor, "measure": measure,
                     "bd_rate": _figure(bd_rate(theirs, ours), 1), "low": _figure(low, 1), "high": _figure(high, 1),
                     "from": round(shared[0], 3), "to": round(shared[1], 3)}
                )  # fmt: skip
    return rows


def finetuning_rows(curves: Curves, pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """What finetuning a decoder did to detection: per cent of mAP, the mean over the levels, the bits being the same.

    Pairs of a codec and the same one before finetuning; those without curves of both are left out.
    """
    rows = []
    for after, before in pairs:
        if before not in curves.codecs:
            continue
        for detector in curves.detectors:
            for number, measure in enumerate(MEASURES):
                change = _relative(curves.whole(detector, after, number), curves.whole(detector, before, number))
                resampled = zip(
                    curves.resampled(detector, after, number), curves.resampled(detector, before, number), strict=True
                )
                low, high = interval(np.array([_relative(*curve).mean() for curve in resampled]))
                rows.append(
                    {"detector": detector, "codec": after, "against": before, "measure": measure,
                     "change": _figure(float(change.mean()), 2), "low": _figure(low, 2), "high": _figure(high, 2),
                     "worst_level": _figure(float(change.min()), 2)}
                )  # fmt: skip
    return rows


def _relative(after: Curve, before: Curve) -> NDArray[np.float64]:
    """Per cent, float64[K], level by level."""
    change: NDArray[np.float64] = 100 * (after.worth / np.maximum(before.worth, 1e-9) - 1)
    return change


def _figure(value: float, digits: int) -> float | None:
    """Rounded; None, which JSON can hold, for what is not defined."""
    return None if np.isnan(value) else round(value, digits)
