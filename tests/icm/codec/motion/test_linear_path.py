"""The linear path: whole numbers, the same in any arithmetic that is exact, and there and back nearly what it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.latents.latents import LATENT_MAX
from icm.codec.motion.linear_path import PIXEL_MAX, PIXELS, WEIGHT_BITS, LinearPath, linear_weights
from icm.codec.motion.prediction import LinearPicture, predicted
from icm.codec.predict.requantise import OCTAVE_STEPS
from icm.errors import BundleError
from icm_bench.exactness.integer_reference import PathInIntegers
from tests.golden.streams import scene

CHANNELS = 24


def random_maps(seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Maps as large as a codec's, and gains of two levels."""
    random = np.random.default_rng(seed)
    analysis = random.normal(0, 0.04, (CHANNELS, PIXELS)).astype(np.float32)
    synthesis = random.normal(0, 0.04, (PIXELS, CHANNELS)).astype(np.float32)
    octaves = random.integers(-9 * OCTAVE_STEPS, OCTAVE_STEPS, (2, CHANNELS)).astype(np.int32)
    return linear_weights(analysis), linear_weights(synthesis), octaves


def divided(values: NDArray[np.object_], bits: int) -> NDArray[np.object_]:
    """Python integers divided by a power of two, halves up."""
    return (values + (1 << bits - 1)) >> bits


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 40, LATENT_MAX]))
def test_floats_give_what_integers_of_any_size_would(seed: int, spread: int) -> None:
    analysis, synthesis, octaves = random_maps(seed)
    octaves[:] = 0  # a gain of 1, so that the matrices are all there is
    path = LinearPath(analysis, synthesis, octaves)
    latents = np.random.default_rng(seed).integers(-spread, spread + 1, (CHANNELS, 3)).astype(np.int16)
    unscaled = np.clip(latents.astype(np.int64) * 16, -(1 << 19) + 1, (1 << 19) - 1).astype(object)
    sums = synthesis.astype(object) @ unscaled
    pixels = np.clip(divided(sums, WEIGHT_BITS).astype(np.int64), -PIXEL_MAX, PIXEL_MAX)
    blocks = path.blocks(latents.T, 0).reshape(3, -1)
    assert (pixels == blocks.T).all()
    back = divided(analysis.astype(object) @ pixels.astype(object), WEIGHT_BITS).astype(np.int64)
    halves = (np.abs(back) + 1) // 2 * np.sign(back)  # from sixteenths to eighths, half away from zero
    again = path.latents(blocks.astype(np.float64), 0)
    assert (np.clip(halves, -8 * LATENT_MAX, 8 * LATENT_MAX) == again.T).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 7 * 16), st.sampled_from([1, 40, LATENT_MAX]))
def test_compiled_code_gives_what_integers_give_at_every_quality(
    codec: Bundle, seed: int, quality: int, spread: int
) -> None:
    assert codec.motion is not None
    path = codec.motion.path
    slow = PathInIntegers(path.analysis, path.synthesis, path.octaves)
    random = np.random.default_rng(seed)
    latents = random.integers(-spread, spread + 1, (5, codec.entropy.latent_channels)).astype(np.int16)
    blocks = path.blocks(latents, quality)
    assert (blocks == slow.blocks(latents, quality)).all()
    pixels = blocks.reshape(5, -1).astype(np.float64)
    assert (path.latents(pixels, quality) == slow.latents(pixels, quality)).all()


def test_a_picture_of_latents_gives_nearly_the_latents_again(codec: Bundle) -> None:
    assert codec.motion is not None
    quality = 16
    latents = codec.analysis.unscaled(scene(160, 96, 0), codec.level_shares(quality))
    whole = np.rint(latents * codec.gains(quality)[:, None, None]).astype(np.int16)
    picture = LinearPicture(codec.motion.path).of(whole, quality)
    positions = np.arange(whole[0].size)
    still = np.zeros((2, len(positions), 4), np.int8)
    again = predicted(codec.motion.path, picture, positions, still, quality).T.reshape(whole.shape) / 8
    assert np.abs(again - whole).mean() < 0.05
    assert np.sqrt(np.square(again - whole).mean()) < 0.1


def test_a_picture_that_changed_in_places_is_as_one_made_anew(codec: Bundle) -> None:
    assert codec.motion is not None
    random = np.random.default_rng(3)
    pictures = LinearPicture(codec.motion.path)
    latents = random.integers(-3, 4, (codec.entropy.latent_channels, 5, 7)).astype(np.int16)
    for quality in (16, 16, 16, 40):
        assert (pictures.of(latents, quality) == LinearPicture(codec.motion.path).of(latents, quality)).all()
        latents = latents.copy()
        latents[:, random.random((5, 7)) < 0.2] += 1


def test_many_positions_give_what_each_gives_by_itself(codec: Bundle) -> None:
    assert codec.motion is not None
    path = codec.motion.path
    latents = np.random.default_rng(4).integers(-3, 4, (4500, codec.entropy.latent_channels)).astype(np.int16)
    some = [0, 2047, 2048, 4499]
    blocks = path.blocks(latents, 48).reshape(len(latents), -1)
    assert (blocks[some] == path.blocks(latents[some], 48).reshape(len(some), -1)).all()
    again = path.latents(blocks.astype(np.float64), 48)
    assert (again[some] == path.latents(blocks[some].astype(np.float64), 48)).all()


def test_a_block_moved_by_whole_positions_has_the_latents_of_the_block_it_came_from(codec: Bundle) -> None:
    assert codec.motion is not None
    latents = np.random.default_rng(5).integers(-2, 3, (codec.entropy.latent_channels, 4, 4)).astype(np.int16)
    picture = LinearPicture(codec.motion.path).of(latents, 32)
    vectors = np.zeros((2, 1, 4), np.int8)
    vectors[0], vectors[1] = 16, -16
    updated = predicted(codec.motion.path, picture, np.array([1 * 4 + 1]), vectors, 32)
    there = predicted(codec.motion.path, picture, np.array([2 * 4 + 0]), np.zeros_like(vectors), 32)
    assert (updated == there).all()


def test_outside_the_picture_its_border_goes_on(codec: Bundle) -> None:
    assert codec.motion is not None
    latents = np.random.default_rng(6).integers(-2, 3, (codec.entropy.latent_channels, 2, 2)).astype(np.int16)
    picture = LinearPicture(codec.motion.path).of(latents, 32)
    vectors = np.zeros((2, 1, 4), np.int8)
    vectors[0] = -63
    column = np.broadcast_to(picture[0, :16], (16, 16, 3)).reshape(1, -1)
    expected = codec.motion.path.latents(column.astype(np.float64), 32)
    assert (predicted(codec.motion.path, picture, np.array([0]), vectors, 32) == expected).all()


def test_maps_whose_sums_could_be_inexact_are_refused() -> None:
    analysis, synthesis, octaves = random_maps(1)
    with pytest.raises(BundleError, match="too large"):
        LinearPath(analysis, np.full_like(synthesis, 1 << 30), octaves)
    with pytest.raises(BundleError, match="do not fit"):
        LinearPath(analysis, synthesis[:, 1:], octaves)
