"""P records with motion: exact for any latents after any reference, also after an I record in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import decode_latents
from icm.codec.encoder import recode_intra
from icm.codec.latents.latents import LATENT_MAX, Latents, latent_size
from icm.codec.latents.memory import REST, BackgroundMemory
from icm.codec.motion.prediction import LinearPicture, predict, reference_after
from icm.codec.motion.reference import Reference
from icm.errors import RecordError
from tests.icm.codec.motion.fields import fields


@st.composite
def frames(draw: st.DrawFn, codec: Bundle) -> Latents:
    """A frame with motion, of latents that no picture would give."""
    width, height = draw(st.tuples(st.integers(1, 100), st.integers(1, 100)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (codec.entropy.latent_channels, *latent_size(width, height))
    spread = draw(st.sampled_from([0, 2, 50, LATENT_MAX]))
    values, remembered = (random.integers(-spread, spread + 1, shape).astype(np.int16) for _ in range(2))
    foreground, updated_since = (random.random(shape[1:]) < draw(st.sampled_from([0, 0.2, 1])) for _ in range(2))
    memory = BackgroundMemory(np.where(foreground, remembered, values), updated_since, draw(st.integers(0, REST - 1)))
    hyper = np.zeros((codec.entropy.hyper_channels, 0, 0), np.int8)
    field = draw(fields(*shape[1:]))
    quality = draw(st.integers(0, 7 * 16))
    return Latents(values, hyper, field.updated, quality, width, height).with_state(field, memory)


@st.composite
def pairs(draw: st.DrawFn, codec: Bundle) -> tuple[Latents, Reference, Latents]:
    """A frame, it as a reference at some quality, and a frame after it."""
    last = draw(frames(codec))
    quality = draw(st.sampled_from([last.quality, draw(st.integers(0, 7 * 16))]))
    assert codec.motion is not None
    reference = reference_after(last, quality, codec.octaves, LinearPicture(codec.motion.path))
    field = draw(fields(*last.updated.shape))
    prediction = predict(codec.motion.path, field, reference).values
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    change = draw(st.sampled_from([0, 1, 30, LATENT_MAX]))
    changes = random.integers(-change, change + 1, prediction.shape) * field.coded
    values = np.clip(prediction + changes, -LATENT_MAX, LATENT_MAX).astype(np.int16)
    return last, reference, replace(last, values=values, quality=quality).after(field, reference.memory)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_frame_after_any_other_comes_back_exactly(codec: Bundle, data: st.DataObject) -> None:
    last, reference, target = data.draw(pairs(codec))
    assert codec.motion is not None
    level = codec.entropy.level(target.quality)
    payload = codec.motion.encode(target.values, target.field, reference, level)
    record = Record(2, 0, Kind.P, 1, target.quality, target.digest(), payload, motion=True)
    decoded = decode_latents(codec, record, last.width, last.height, last)
    assert (decoded.values == target.values).all()
    assert (decoded.field.vectors == target.field.vectors).all()
    assert (decoded.background.values == target.background.values).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_coded_again_alone_a_frame_leaves_the_next_one_the_same(codec: Bundle, data: st.DataObject) -> None:
    frame = data.draw(frames(codec))
    record = recode_intra(codec, frame).record(1, 0)
    decoded = decode_latents(codec, record, frame.width, frame.height, None)
    assert decoded.digest() == frame.digest()
    assert (decoded.field.modes == frame.field.modes).all()
    assert (decoded.background.updated_since == frame.background.updated_since).all()
    assert decoded.background.count == frame.background.count


@settings(max_examples=100, deadline=None)
@given(st.data(), st.binary(max_size=300))
def test_any_bytes_as_a_payload_give_latents_or_a_record_error(
    codec: Bundle, data: st.DataObject, payload: bytes
) -> None:
    last, reference, _ = data.draw(pairs(codec))
    assert codec.motion is not None
    like = replace(last, quality=reference.quality)
    try:
        decoded = codec.motion.decode(payload, like, reference, codec.entropy.level(reference.quality))
    except RecordError:
        return
    assert decoded.values.shape == last.values.shape


def test_the_digest_covers_all_that_the_next_frame_leans_on(codec: Bundle) -> None:
    shape = (codec.entropy.latent_channels, 1, 1)
    values, still = np.zeros(shape, np.int16), np.zeros((1, 1), bool)
    plain = Latents(values, np.zeros((codec.entropy.hyper_channels, 0, 0), np.int8), still, 16, 16, 16)
    memory = BackgroundMemory.of(values)
    seen = {plain.digest()}
    for other in (
        memory,
        replace(memory, count=1),
        replace(memory, updated_since=~still),
        replace(memory, values=values + np.int16(1)),
    ):
        seen.add(replace(plain, memory=other).digest())
    moving = plain.field
    for mode, row in ((2, 0), (2, 1), (4, 1)):
        vectors = np.zeros((2, 2, 2), np.int8)
        vectors[0] = row
        motion = replace(moving, modes=np.full((1, 1), mode, np.uint8), vectors=vectors)
        seen.add(replace(plain, updated=~still, motion=motion, memory=memory).digest())
    assert len(seen) == 8


@pytest.mark.parametrize("level", range(8))
def test_a_frame_in_which_nothing_moved_takes_a_few_bytes(codec: Bundle, level: int) -> None:
    assert codec.motion is not None
    shape = (codec.entropy.latent_channels, *latent_size(768, 576))
    values = np.random.default_rng(1).integers(-3, 4, shape).astype(np.int16)
    hyper = np.zeros((codec.entropy.hyper_channels, 0, 0), np.int8)
    last = Latents(values, hyper, np.zeros(shape[1:], bool), level * 16, 768, 576)
    reference = reference_after(last, last.quality, codec.octaves, LinearPicture(codec.motion.path))
    assert len(codec.motion.encode(values, last.field, reference, level)) <= 16
