"""Blocks of a picture, moved: compiled code against the picture with its border laid around it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.latents.field import VECTOR_MAX
from icm.codec.latents.latents import STRIDE
from icm.codec.motion.linear_path import PIXELS
from icm.codec.native import library

HALF = STRIDE // 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5), st.sampled_from([0, 3, VECTOR_MAX]))
def test_each_quarter_is_cut_out_where_its_vector_says(seed: int, rows: int, columns: int, reach: int) -> None:
    random = np.random.default_rng(seed)
    height, width = STRIDE * rows, STRIDE * columns
    picture = random.integers(-4095, 4096, (height, width, 3)).astype(np.int16)
    positions = np.arange(rows * columns)
    vectors = random.integers(-reach, reach + 1, (2, len(positions), 4)).astype(np.int8)
    blocks = np.empty((len(positions), PIXELS))
    library.moved_blocks(picture, height, width, positions, len(positions), vectors, blocks)
    border = VECTOR_MAX + 1
    around = np.pad(picture, ((border, border), (border, border), (0, 0)), mode="edge")
    for position, block in enumerate(blocks.reshape(-1, STRIDE, STRIDE, 3)):
        row, column = divmod(position, columns)
        for part in range(4):
            down, right = (part // 2) * HALF, (part % 2) * HALF
            top = STRIDE * row + down + int(vectors[0, position, part]) + border
            left = STRIDE * column + right + int(vectors[1, position, part]) + border
            expected = around[top : top + HALF, left : left + HALF]
            assert (block[down : down + HALF, right : right + HALF] == expected).all()
