"""P records without motion, as icm-1 made them: exact for any latents after any reference, small as what moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.bundle.loading import Bundle
from icm.codec.latents.latents import LATENT_MAX, Latents, latent_size
from icm.errors import RecordError
from tests.bundles import ICM_1

sizes = st.tuples(st.integers(1, 150), st.integers(1, 150))


@pytest.fixture(scope="module")
def codec() -> Bundle:
    return Bundle.load(ICM_1, threads=1)


@st.composite
def reference_and_target(draw: st.DrawFn, codec: Bundle) -> tuple[Latents, Latents]:
    """Latents that no picture would give, and others that differ from them at some positions."""
    width, height = draw(sizes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (codec.entropy.latent_channels, *latent_size(width, height))
    spread = draw(st.sampled_from([0, 2, 50, LATENT_MAX]))
    values = random.integers(-spread, spread + 1, shape).astype(np.int16)
    last, updated = (random.random(shape[1:]) < draw(st.sampled_from([0, 0.05, 0.5, 1.0])) for _ in range(2))
    change = draw(st.sampled_from([0, 1, 30, LATENT_MAX]))
    changes = random.integers(-change, change + 1, shape) * (random.random(shape) < draw(st.sampled_from([0.02, 0.7])))
    after = np.clip(values + changes * updated, -LATENT_MAX, LATENT_MAX).astype(np.int16)
    quality = draw(st.integers(0, 7 * 16))
    hyper = np.zeros((codec.entropy.hyper_channels, 0, 0), np.int8)
    reference = Latents(values, hyper, last, quality, width, height)
    return reference, replace(reference, values=after, updated=updated)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_frame_after_any_other_comes_back_exactly(codec: Bundle, data: st.DataObject) -> None:
    reference, target = data.draw(reference_and_target(codec))
    level = codec.entropy.level(target.quality)
    payload = codec.temporal.encode(target, reference.values, reference.updated, level)
    decoded = codec.temporal.decode(payload, reference, reference.values, reference.updated, level)
    assert (decoded.values == target.values).all()
    assert (decoded.updated == target.updated).all()
    assert decoded.digest() == target.digest()


@settings(max_examples=100, deadline=None)
@given(st.data(), st.binary(max_size=300))
def test_any_bytes_as_a_payload_give_latents_or_a_record_error(
    codec: Bundle, data: st.DataObject, payload: bytes
) -> None:
    reference, _ = data.draw(reference_and_target(codec))
    try:
        latents = codec.temporal.decode(
            payload, reference, reference.values, reference.updated, codec.entropy.level(reference.quality)
        )
    except RecordError:
        return
    assert latents.values.shape == reference.values.shape


@pytest.mark.parametrize("level", range(8))
def test_a_frame_in_which_nothing_moved_takes_a_few_bytes(codec: Bundle, level: int) -> None:
    shape = (codec.entropy.latent_channels, *latent_size(768, 576))
    still = np.zeros(shape[1:], bool)
    hyper = np.zeros((codec.entropy.hyper_channels, 0, 0), np.int8)
    values = np.random.default_rng(1).integers(-3, 4, shape).astype(np.int16)
    reference = Latents(values, hyper, still, level * 16, 768, 576)
    payload = codec.temporal.encode(reference, values, still, level)
    assert len(payload) <= 16
