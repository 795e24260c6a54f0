"""The linear maps of motion: what a decoder predicts through them where a camera has turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.latents.latents import QUALITY_STEPS, STRIDE
from icm.codec.motion.linear_path import EIGHTHS, LinearPath
from icm_train.data.motion_samples import linear_path
from icm_train.stages.motion_maps import fitted_maps
from icm_train.stages.temporal import TemporalConfig, TemporalTrainer, made_clips
from icm_train.weights.checkpoint import load_codec

CONFIG = TemporalConfig(clips=12, size=160, frames=2, map_crops=400, map_steps=60)
LEVEL = 5
SHIFT = 5


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
        pictures = clip[:1, :112, :112], clip[:1, SHIFT : 112 + SHIFT, SHIFT : 112 + SHIFT]
        gains = trainer.gains[LEVEL][:, None, None]
        known, wanted = (trainer.latents(picture, LEVEL)[0] * gains for picture in pictures)
        side, channels = known.shape[1], len(known)
        rounded = np.rint(known).astype(np.int16).reshape(channels, -1).T
        blocks = path.blocks(np.ascontiguousarray(rounded), LEVEL * QUALITY_STEPS)
        picture = blocks.reshape(side, side, STRIDE, STRIDE, 3).swapaxes(1, 2).reshape(112, 112, 3)
        inner = picture[STRIDE + SHIFT : -STRIDE + SHIFT, STRIDE + SHIFT : -STRIDE + SHIFT]
        moved = inner.reshape(side - 2, STRIDE, side - 2, STRIDE, 3).swapaxes(1, 2)
        predicted = path.latents(moved.reshape((side - 2) ** 2, -1).astype(np.float64), LEVEL * QUALITY_STEPS) / EIGHTHS
        total += float(np.square(predicted - wanted[:, 1:-1, 1:-1].reshape(channels, -1).T).mean())
    return total


def test_fitted_maps_predict_what_has_moved_better_than_the_codecs_own(trainer: TemporalTrainer) -> None:
    own = linear_path(trainer.codec)
    maps = fitted_maps(trainer.codec, trainer.clips[:9], CONFIG.map_crops, CONFIG.map_steps, seed=3)
    fitted = LinearPath(*maps, own.octaves)
    assert error(trainer, fitted, trainer.clips[9:]) < 0.95 * error(trainer, own, trainer.clips[9:])


def test_maps_follow_from_codec_clips_and_seed(trainer: TemporalTrainer) -> None:
    one, other = (fitted_maps(trainer.codec, trainer.clips, 6, 3, seed=4) for _ in range(2))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_a_stage_that_goes_on_keeps_its_maps(trainer: TemporalTrainer) -> None:
    before = trainer.path
    trainer.path = LinearPath(before.analysis // 2, before.synthesis, before.octaves)
    state = trainer.state()
    trainer.path = before
    trainer.load(state)
    assert np.array_equal(trainer.path.analysis, before.analysis // 2)
    earlier = {name: value for name, value in state.items() if name != "maps"}
    trainer.load(earlier)
    assert np.array_equal(trainer.path.analysis, before.analysis // 2)
