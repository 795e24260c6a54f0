"""The entropy coder: lossless for any latents, silent about none of the damage."""

from __future__ import annotations

from dataclasses import replace

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.bundle.loading import Bundle
from icm.codec.entropy.coder import push_number, push_symbols
from icm.codec.latents.latents import HYPER_MAX, LATENT_MAX, Latents, hyper_size, latent_size
from icm.errors import RecordError

sizes = st.tuples(st.integers(1, 120), st.integers(1, 120))


@st.composite
def any_latents(draw: st.DrawFn, codec: Bundle) -> Latents:
    """Latents that no picture would give: wild values, hyper-latents that fit nothing."""
    channels, hyper_channels = codec.entropy.latent_channels, codec.entropy.hyper_channels
    width, height = draw(sizes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0, 1, 20, 3000, LATENT_MAX]))
    values = random.integers(-spread, spread + 1, (channels, *latent_size(width, height)))
    values *= random.random(values.shape) < draw(st.sampled_from([0.01, 0.3, 1.0]))
    reach = draw(st.sampled_from([0, 3, HYPER_MAX]))
    hyper = random.integers(-reach, reach + 1, (hyper_channels, *hyper_size(width, height)))
    updated = random.random(values.shape[1:]) < draw(st.sampled_from([0, 0.02, 0.5, 1.0]))
    return Latents(values.astype(np.int16), hyper.astype(np.int8), updated, draw(st.integers(0, 7 * 16)), width, height)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_latents_come_back_exactly(codec: Bundle, data: st.DataObject) -> None:
    latents = data.draw(any_latents(codec))
    payload = codec.entropy.encode(latents)
    decoded = codec.entropy.decode(payload, latents.quality, latents.width, latents.height)
    assert (decoded.values == latents.values).all()
    assert (decoded.hyper == latents.hyper).all()
    assert (decoded.updated == latents.updated).all()
    assert decoded.digest() == latents.digest()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_snapped_latents_are_what_their_payload_decodes_to(codec: Bundle, data: st.DataObject) -> None:
    latents = data.draw(any_latents(codec))
    snapped, payload = codec.entropy.encode_approximate(latents)
    decoded = codec.entropy.decode(payload, latents.quality, latents.width, latents.height)
    assert decoded.digest() == snapped.digest()
    assert len(payload) <= len(codec.entropy.encode(latents))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 255), sizes)
def test_any_bytes_as_a_payload_give_latents_or_a_record_error(
    codec: Bundle, payload: bytes, quality: int, size: tuple[int, int]
) -> None:
    try:
        latents = codec.entropy.decode(payload, quality, *size)
    except RecordError:
        return
    assert latents.values.shape == (codec.entropy.latent_channels, *latent_size(*size))


@pytest.mark.parametrize("left", [1, 1000, 1 << 22])
def test_a_payload_that_claims_four_billion_surprises_is_refused_at_once(codec: Bundle, left: int) -> None:
    """A spent coder gives zeros without end; counting on it to run dry would hang the decoder for hours."""
    coder = constriction.stream.stack.AnsCoder(np.array([left], np.uint32))
    for half in (0xFFFF, 0xFFFF):
        push_number(coder, half)
    model, quality, size = codec.entropy, 48, (64, 64)
    hyper = np.zeros((model.hyper_channels, *hyper_size(*size)), np.int8)
    first = model.predict(model.surroundings(hyper, quality, *latent_size(*size)).expect(0))
    push_symbols(coder, np.zeros(len(first.order), np.int32), first.order_tables, model.latent_tables)
    tables = model._hyper_tables(quality, hyper[0].size)
    push_symbols(coder, hyper.ravel().astype(np.int32), tables, model.hyper_tables)
    push_number(coder, 0)  # nothing moved
    payload = coder.get_compressed().astype("<u4").tobytes()
    with pytest.raises(RecordError, match="surprise"):
        model.decode(payload, quality, *size)


@pytest.mark.parametrize(("quality", "level"), [(0, 0), (7, 0), (8, 1), (16, 1), (112, 7)])
def test_a_quality_between_levels_uses_the_nearest_levels_tables(codec: Bundle, quality: int, level: int) -> None:
    assert codec.entropy.level(quality) == level


def test_the_digest_depends_on_every_latent_and_on_what_moved_but_not_on_how_it_was_coded() -> None:
    zeros = Latents(np.zeros((192, 1, 1), np.int16), np.zeros((64, 1, 1), np.int8), np.zeros((1, 1), bool), 0, 16, 16)
    seen = {zeros.digest(), replace(zeros, updated=np.ones((1, 1), bool)).digest()}
    for channel in range(192):
        values = zeros.values.copy()
        values[channel] = 1
        seen.add(replace(zeros, values=values).digest())
    assert len(seen) == 194
    assert replace(zeros, hyper=np.zeros((64, 0, 0), np.int8)).digest() == zeros.digest()
