"""Frames that a decoder is finetuned on come as P records would bring them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from icm.errors import ConfigError
from icm_train.data.coded_clips import CodedClips
from icm_train.models.codec import TrainableCodec
from icm_train.stages.temporal import TemporalConfig
from icm_train.stages.temporal import train as train_temporal
from icm_train.weights.checkpoint import load_codec

SIDE = 64


@pytest.fixture(scope="module")
def temporal(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder in which the stage of P records is done."""
    folder = tmp_path_factory.mktemp("temporal")
    config = TemporalConfig(
        clips=2, size=128, frames=10, steps=2, batch=2, fresh=2, counted=1, map_crops=8, map_steps=2, save_every=2
    )
    train_temporal(config, trained / "base.pt", trained / "photos.u8", folder)
    return folder


@pytest.fixture
def codec(trained: Path) -> TrainableCodec:
    return load_codec(trained / "base.pt")[0]


def coded(codec: TrainableCodec, clips: Path, temporal: Path) -> CodedClips:
    return CodedClips(codec, clips, temporal / "temporal.pt", 16, SIDE, 3)


def square_on_its_way() -> NDArray[np.uint8]:
    """uint8[1, 10, 64, 64, 3]: still on the left, a square that moves from frame to frame on the right."""
    random = np.random.default_rng(1)
    clip = np.repeat(random.integers(60, 90, (1, 1, SIDE, SIDE, 3)), 10, 1).astype(np.uint8)
    for frame in range(10):
        clip[0, frame, 2 * frame : 2 * frame + 20, 44:] = 240
    return clip


def test_what_moved_is_marked_and_what_stood_still_is_as_the_first_frame_left_it(
    codec: TrainableCodec, temporal: Path, tmp_path: Path
) -> None:
    clip = square_on_its_way()
    np.save(tmp_path / "clips.npy", clip)
    frames = coded(codec, tmp_path / "clips.npy", temporal)
    level, pictures = 5, [clip[0, number].transpose(2, 0, 1) for number in range(10)]
    first = torch.from_numpy(np.stack([pictures[0], pictures[0][:, :, ::-1]])).float() / 255
    with torch.no_grad():
        alone = torch.round(codec.analyse(first, torch.full((2,), level)))
    for _ in range(8):
        frame = frames.draw(level)
        mirrored = bool(frame.image[:, :, :20].float().mean() > frame.image[:, :, 44:].float().mean())
        shown = np.ascontiguousarray(frame.image.numpy()[:, :, ::-1] if mirrored else frame.image.numpy())
        assert any((shown == picture).all() for picture in pictures[6:])
        moving = frame.moving.numpy()[:, ::-1] if mirrored else frame.moving.numpy()
        assert moving[:, 48:].any()
        assert not moving[:, :16].any()
        still = ~frame.moving[::16, ::16]
        assert torch.equal(frame.latents[:, still], alone[int(mirrored)][:, still])


def test_without_the_stage_of_p_records_it_is_said_what_makes_it(
    codec: TrainableCodec, temporal: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="icm-train temporal"):
        coded(codec, tmp_path / "clips.npy", temporal)
    with pytest.raises(ConfigError, match="icm-train temporal"):
        coded(codec, temporal / "clips.npy", tmp_path)


def test_clips_that_are_too_small_are_refused(codec: TrainableCodec, temporal: Path) -> None:
    with pytest.raises(ConfigError, match=r"smaller than finetune\.crop, 256 pixels"):
        CodedClips(codec, temporal / "clips.npy", temporal / "temporal.pt", 8, 256, 3)
