"""What computing only what changed saves on a clip, at both ends, and what it costs where everything moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder
from icm.codec.transforms.incremental import IncrementalAnalysis, IncrementalSynthesis
from icm_bench.timer import Timer

_STEP = 37
"""Pixels that everything moves by from frame to frame, in the second scene."""
_STARTING = 2
"""Frames that fill what later ones are compared with."""


def tile_rows(bundle: Bundle, frames: Sequence[NDArray[np.uint8]], quality: float) -> list[dict[str, Any]]:
    """One row for each scene and end: whole frames against tiles, and the share of latents computed or changed."""
    rows = []
    moving = [np.roll(frame, _STEP * number, axis=1) for number, frame in enumerate(frames)]
    for scene, pictures in (("as it is", frames), ("everything moves", moving)):
        encoder = Encoder(bundle)
        coded = [encoder.encode(picture, quality) for picture in pictures]
        for end, (timer, shares, apart) in (
            ("analysis", _analysed(bundle, pictures, coded[0].quality)),
            ("synthesis", _synthesised(bundle, coded)),
        ):
            whole, tiled = (timer.spans[name][_STARTING:] for name in ("whole", "tiles"))
            rows.append(
                {
                    "scene": scene,
                    "end": end,
                    "whole_ms": round(float(np.median(whole)), 2),
                    "tiles_ms": round(float(np.median(tiled)), 2),
                    "ratio": round(sum(tiled) / sum(whole), 3),
                    "share": round(float(np.mean(shares[_STARTING:])), 3),
                    "farthest": apart,
                }
            )
    return rows


def _analysed(bundle: Bundle, pictures: Sequence[NDArray[np.uint8]], quality: int) -> tuple[Timer, list[float], float]:
    """Spans, shares of latents computed, and quantisation steps between tiles and the whole of what they stand for."""
    timer, shares = Timer(), []
    tiled, exact = (
        IncrementalAnalysis(bundle.analysis, bundle.sparse_analysis, *threshold) for threshold in ((), (0.0,))
    )
    farthest, levels = 0.0, bundle.level_shares(quality)
    for number, picture in enumerate(pictures):
        with timer("whole"):
            whole = bundle.analysis.unscaled(picture, levels)
        with timer("tiles"):
            _, changed = tiled.latents(picture, levels)
        shares.append(float(changed.mean()))
        if number <= 2 * _STARTING:
            steps = np.abs(exact.latents(picture, levels)[0] - whole) * bundle.gains(quality)[:, None, None]
            farthest = max(farthest, float(steps.max()))
    return timer, shares, round(farthest, 5)


def _synthesised(bundle: Bundle, coded: Sequence[CodedFrame]) -> tuple[Timer, list[float], float]:
    """Spans, shares of positions that moved, and grey levels between tiles and the whole."""
    timer, shares = Timer(), []
    tiled = IncrementalSynthesis(bundle.synthesis, bundle.sparse_synthesis)
    farthest, last = 0, coded[0].latents.values
    for frame in coded:
        values, inverse_gains = frame.latents.values, bundle.inverse_gains(frame.quality)
        levels = bundle.level_shares(frame.quality)
        with timer("whole"):
            whole = bundle.synthesis.pictures(values[None], inverse_gains[None], levels[None])[0]
        with timer("tiles"):
            picture = tiled.picture(values, inverse_gains, levels)
        shares.append(float((values != last).any(0).mean()))
        farthest, last = max(farthest, int(np.abs(picture.astype(np.int16) - whole).max())), values
    return timer, shares, farthest
