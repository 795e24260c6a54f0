"""The linear maps of motion: what a decoder predicts through them where a camera has turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.latents.latents import QUALITY_STEPS, STRIDE
from icm.codec.motion.linear_path import EIGHTHS, LEVEL_STEPS, LinearPath, LinearSynthesis
from icm_train.data.motion_samples import linear_path
from icm_train.stages.motion_maps import fitted_maps
from icm_train.stages.temporal import TemporalConfig, TemporalTrainer, made_clips
from icm_train.weights.checkpoint import load_codec

CONFIG = TemporalConfig(clips=12, size=160, frames=2, map_crops=400, map_steps=60)
LEVEL = 5
SHIFT = 5
SIDE = 112


@pytest.fixture(scope="module")
def trainer(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> TemporalTrainer:
    """Of the codec that ships, whose learned branches do much of what its linear paths could."""
    codec, _ = load_codec(DEFAULT_BUNDLE)
    file = tmp_path_factory.mktemp("maps") / "clips.npy"
    return TemporalTrainer(codec, CONFIG, made_clips(CONFIG, trained / "photos.u8", file))


def error(trainer: TemporalTrainer, path: LinearPath, clips: NDArray[np.uint8]) -> float:
    """What is left of latents that are predicted from those of a picture moved by 5 pixels, in squared steps."""
    total = 0.0
    for clip in clips:
        known, wanted = (latents(trainer, clip[:1, by : SIDE + by, by : SIDE + by]) for by in (0, SHIFT))
        inner = picture(path, known)[STRIDE + SHIFT : -STRIDE + SHIFT, STRIDE + SHIFT : -STRIDE + SHIFT]
        count = SIDE // STRIDE - 2
        moved = inner.reshape(count, STRIDE, count, STRIDE, 3).swapaxes(1, 2)
        predicted = path.latents(moved.reshape(count**2, -1).astype(np.float64), LEVEL * QUALITY_STEPS) / EIGHTHS
        total += float(np.square(predicted - wanted[:, 1:-1, 1:-1].reshape(len(known), -1).T).mean())
    return total


def unlike(trainer: TemporalTrainer, search: LinearSynthesis, clips: NDArray[np.uint8]) -> float:
    """Squared error of the linear picture, in grey levels."""
    pairs = [
        (picture(search, latents(trainer, clip[:1, :SIDE, :SIDE])) / LEVEL_STEPS, clip[0, :SIDE, :SIDE] - 127.5)
        for clip in clips
    ]
    return float(np.mean([np.square(one - other).mean() for one, other in pairs]))


def latents(trainer: TemporalTrainer, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of a clip of one frame, in quantisation steps, not rounded: float32[M, h, w]."""
    scaled: NDArray[np.float32] = trainer.latents(frames, LEVEL)[0] * trainer.gains[LEVEL][:, None, None]
    return scaled


def picture(path: LinearSynthesis, scaled: NDArray[np.float32]) -> NDArray[np.int16]:
    """The linear picture of rounded latents, int16[SIDE, SIDE, 3]."""
    count = SIDE // STRIDE
    rounded = np.rint(scaled).astype(np.int16).reshape(len(scaled), -1).T
    blocks = path.blocks(np.ascontiguousarray(rounded), LEVEL * QUALITY_STEPS)
    return blocks.reshape(count, count, STRIDE, STRIDE, 3).swapaxes(1, 2).reshape(SIDE, SIDE, 3)


def test_fitted_maps_predict_what_has_moved_better_than_the_codecs_own(trainer: TemporalTrainer) -> None:
    own = linear_path(trainer.codec)
    maps = fitted_maps(trainer.codec, trainer.clips[:9], CONFIG.map_crops, CONFIG.map_steps, seed=3)
    fitted = LinearPath(maps.analysis, maps.synthesis, own.octaves)
    assert error(trainer, fitted, trainer.clips[9:]) < 0.95 * error(trainer, own, trainer.clips[9:])


def test_the_picture_that_an_encoder_searches_is_more_like_the_cameras(trainer: TemporalTrainer) -> None:
    own = linear_path(trainer.codec)
    maps = fitted_maps(trainer.codec, trainer.clips[:9], CONFIG.map_crops, 1, seed=3)
    fitted = LinearSynthesis(maps.search, own.octaves)
    assert unlike(trainer, fitted, trainer.clips[9:]) < 0.5 * unlike(trainer, own, trainer.clips[9:])


def test_maps_follow_from_codec_clips_and_seed(trainer: TemporalTrainer) -> None:
    one, other = (fitted_maps(trainer.codec, trainer.clips, 6, 3, seed=4) for _ in range(2))
    assert np.array_equal(one.analysis, other.analysis)
    assert np.array_equal(one.synthesis, other.synthesis)
    assert np.array_equal(one.search, other.search)


def test_a_stage_that_goes_on_keeps_its_maps(trainer: TemporalTrainer) -> None:
    before = trainer.path
    trainer.path = LinearPath(before.analysis // 2, before.synthesis, before.octaves)
    trainer.search = LinearSynthesis(before.synthesis // 3, before.octaves)
    state = trainer.state()
    trainer.path = trainer.search = before
    trainer.load(state)
    assert np.array_equal(trainer.path.analysis, before.analysis // 2)
    assert np.array_equal(trainer.search.synthesis, before.synthesis // 3)


def test_a_stage_of_before_that_goes_on_searches_where_it_moves(trainer: TemporalTrainer) -> None:
    state = trainer.state()
    del state["search"]
    trainer.load(state)
    assert trainer.search is trainer.path
