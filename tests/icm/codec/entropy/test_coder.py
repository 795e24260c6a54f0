"""What is coded of latents under their tables, and in which order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.bundle.loading import Bundle
from icm.codec.entropy.coder import Prediction


@given(seed=st.integers(0, 2**32), count=st.integers(0, 3000))
def test_what_is_not_certain_is_coded_table_by_table_and_of_a_table_in_its_order(
    codec: Bundle, seed: int, count: int
) -> None:
    tables, random = codec.entropy.latent_tables, np.random.default_rng(seed)
    means = random.integers(-99, 100, count).astype(np.int32)
    indexes = random.integers(0, len(tables), count).astype(np.int32)
    prediction = Prediction(tables, means, indexes)
    certain = tables.deterministic[indexes]
    assert np.array_equal(prediction.deterministic, certain)
    assert np.array_equal(prediction.expected, means + tables.certain_values[indexes])
    wanted = sorted(np.flatnonzero(~certain).tolist(), key=lambda place: int(indexes[place]))
    assert prediction.order.tolist() == wanted
    assert np.array_equal(prediction.order_tables, indexes[wanted])
