"""The golden records of a bundle: pictures made by arithmetic, coded at every level, alone and after one another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder

WIDTH, HEIGHT = 150, 90
"""No multiples of 16, so that edges are padded."""


def pictures() -> Iterator[NDArray[np.uint8]]:
    """A pattern over which a square moves on and on: uint8[HEIGHT, WIDTH, 3] each."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    pattern = np.stack([rows * 2 % 256, columns * 3 % 256, (rows * columns // 16) % 256], -1).astype(np.uint8)
    step = 0
    while True:
        picture = pattern.copy()
        left = 7 * step % (WIDTH - 24)
        picture[30:62, left : left + 24] = (200, 40, 90)
        yield picture
        step += 1


def golden_stream(bundle: Bundle) -> bytes:
    """A stream of an I and two P records at every level; the first of a level also refers to the level before."""
    header = StreamHeader(bundle.codec_id, "golden", 1, 0, WIDTH, HEIGHT)
    encoder, source = Encoder(bundle), pictures()
    stream = header.pack()
    sequence = 0
    for level in range(bundle.levels):
        for intra in (False, True, False):
            sequence += 1
            coded = encoder.encode(next(source), level, intra=intra)
            stream += coded.record(sequence, sequence * 100_000).pack(header)
    return stream
