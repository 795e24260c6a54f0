"""What a P record costs at both ends by how much moves: people-sized cut-outs of a frame walk over that frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icm.codec.bitstream.record import Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm.codec.motion.prediction import LinearPicture
from icm_bench.exactness.exactness import coded_after
from icm_bench.timer import Timer

SIZE = (640, 384)
WALKERS = (1, 3, 6, 12)
FRAMES, _STARTING = 40, 6
_WIDTH, _HEIGHT = 40, 88
_SPEEDS = (2, -3, 4, -2, 3, -4, 2, -3)
"""Pixels a frame, to the right."""


def motion_rows(bundle: Bundle, image: NDArray[np.uint8], quality: float) -> list[dict[str, Any]]:
    """One row for each number of walkers: share of positions that moved, and medians in milliseconds.

    ``prediction and entropy`` is what of coding is neither the transform nor the encoder's search and choice: the
    reference, what the field predicts, the networks and the stream.
    """
    scene = np.asarray(Image.fromarray(image).resize(SIZE))
    width, height = SIZE
    rows = []
    for walkers in WALKERS:
        encoder, decoder, timer = Encoder(bundle), Decoder(bundle), Timer()
        pictures = LinearPicture(bundle.motion.path) if bundle.motion else None
        updated, last = [], None
        for number in range(1, FRAMES + 1):
            with timer("edge"):
                coded = encoder.encode(walking(scene, walkers, number), quality)
            record = coded.record(number, 0)
            with timer("latents"):
                latents = decoder.latents(record, width, height)
            with timer("picture"):
                decoder.picture(latents)
            if coded.kind is Kind.P and last is not None:
                with timer("entropy"):
                    coded_after(bundle, last, latents, pictures)
                updated.append(float(latents.updated.mean()))
            last = latents
        edge, decoded, shown, entropy = (
            float(np.median(timer.spans[part][_STARTING:])) for part in ("edge", "latents", "picture", "entropy")
        )
        rows.append(
            {
                "walkers": walkers,
                "moved_percent": round(100 * float(np.mean(updated[_STARTING:])), 1),
                "edge_ms": round(edge, 1),
                "prediction_and_entropy_ms": round(entropy, 1),
                "share_of_edge": round(entropy / edge, 2),
                "cloud_ms": round(decoded + shown, 1),
                "of_that_synthesis_ms": round(shown, 1),
            }
        )
    return rows


def walking(scene: NDArray[np.uint8], walkers: int, number: int) -> NDArray[np.uint8]:
    """The picture of a frame's number: cut-outs of the scene on their way across it, back at its edges."""
    height, width = scene.shape[:2]
    picture = scene.copy()
    for walker in range(walkers):
        cut = scene[40 : 40 + _HEIGHT, 50 * walker : 50 * walker + _WIDTH][:, ::-1]
        left = (37 + 173 * walker + _SPEEDS[walker % len(_SPEEDS)] * number) % (width - _WIDTH)
        top = (height - _HEIGHT) * (walker % 4) // 3
        picture[top : top + _HEIGHT, left : left + _WIDTH] = cut
    return picture
