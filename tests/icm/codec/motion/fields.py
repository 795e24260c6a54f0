"""Fields that no encoder would choose."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from icm.codec.latents.field import VECTOR_MAX, Field, Mode, has_vectors, is_split


@st.composite
def fields(draw: st.DrawFn, rows: int, columns: int) -> Field:
    """Any field of a size, from one in which nothing moved to one of random modes and vectors."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    modes = (random.integers(1, len(Mode), (rows, columns)) * (random.random((rows, columns)) < share)).astype(np.uint8)
    reach = draw(st.sampled_from([0, 2, VECTOR_MAX]))
    vectors = random.integers(-reach, reach + 1, (2, rows, 2, columns, 2))
    vectors = np.where(is_split(modes)[:, None, :, None], vectors, vectors[:, :, :1, :, :1])
    vectors = vectors * has_vectors(modes)[:, None, :, None]
    global_motion = draw(st.tuples(st.integers(-reach, reach), st.integers(-reach, reach)))
    global_motion = global_motion if has_vectors(modes).any() else (0, 0)
    return Field(modes, vectors.reshape(2, 2 * rows, 2 * columns).astype(np.int8), global_motion)
