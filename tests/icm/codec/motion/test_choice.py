"""What an encoder chooses: vectors for what moves, the background for what is uncovered, nothing for what rests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.codec.encoder import CodedFrame, Encoder
from icm.codec.latents.field import Mode, has_vectors
from icm.codec.latents.memory import REST
from tests.bundles import ICM_1
from tests.clips import pan_over_photo

LEVEL = 3


def texture(rows: int, columns: int, seed: int) -> NDArray[np.uint8]:
    """A smooth random pattern, uint8[rows, columns, 3]."""
    random = np.random.default_rng(seed)
    rough = random.integers(0, 256, (rows // 8 + 2, columns // 8 + 2, 3)).astype(float)
    fine = rough.repeat(8, 0).repeat(8, 1)
    for _ in range(6):
        fine = (fine + np.roll(fine, 2, 0) + np.roll(fine, 2, 1) + np.roll(fine, -2, 1)) / 4
    return fine[:rows, :columns].astype(np.uint8)


def walking(frames: int, speed: int, start: int = 16) -> list[NDArray[np.uint8]]:
    """Somebody of 48x64 pixels walks to the right over a background."""
    background, walker = texture(160, 320, 1) // 2, texture(64, 48, 2) // 2 + 127
    pictures = []
    for frame in range(frames):
        picture, left = background.copy(), start + speed * frame
        picture[48:112, left : left + 48] = walker[:, : max(0, 320 - left)]
        pictures.append(picture)
    return pictures


def coded(codec: Bundle, pictures: list[NDArray[np.uint8]]) -> list[CodedFrame]:
    encoder = Encoder(codec)
    return [encoder.encode(picture, LEVEL) for picture in pictures]


def followed(pictures: list[NDArray[np.uint8]], folder: Path) -> None:
    """Somebody who walks by 5 pixels a picture has vectors of that in the sixth."""
    *_, last = coded(Bundle.load(folder, threads=1), pictures)
    field = last.latents.field
    has_motion = field.has_motion[3:7, 3:5]  # well within where he is in the sixth picture
    assert has_motion.mean() > 0.7
    vectors = field.vectors[:, 6:14, 6:10]
    assert np.median(vectors[1]) == -5
    assert np.median(vectors[0]) == 0


def test_somebody_made_of_a_pattern_who_walks_is_found_where_he_was() -> None:
    followed(walking(6, speed=5), ICM_1)


@pytest.mark.parametrize("folder", SHIPPED_BUNDLES, ids=lambda folder: folder.name)
def test_somebody_of_a_photo_who_walks_is_found_where_he_was(folder: Path) -> None:
    photo, pictures = pan_over_photo()[0], []
    for left in range(16, 46, 5):
        pictures.append(photo[100:260, 100:420].copy())
        pictures[-1][48:112, left : left + 48] = photo[400:464, 250:298]
    followed(pictures, folder)


def test_motion_costs_less_than_half_of_coding_anew(codec: Bundle) -> None:
    pictures = walking(8, speed=4)
    encoder = Encoder(codec)
    with_motion = sum(len(encoder.encode(picture, LEVEL).payload) for picture in pictures[1:])
    intra = sum(len(encoder.encode(picture, LEVEL, intra=True).payload) for picture in pictures[1:])
    assert with_motion < intra / 2


def test_what_he_uncovers_is_remembered(codec: Bundle) -> None:
    away = walking(1, speed=0, start=270)[0]
    pictures = [away] * (2 * REST + 1) + walking(14, speed=8)
    frames = coded(codec, pictures)
    modes = [frame.latents.field.modes for frame in frames[-8:]]
    behind = np.concatenate([part[3:7].ravel() for part in modes])
    assert (behind >= Mode.BACKGROUND).sum() > 8


def test_what_rests_has_no_mode(codec: Bundle) -> None:
    for frame in coded(codec, walking(6, speed=5)):
        assert (frame.latents.field.modes[8:, :] == Mode.SKIP).all()


def test_a_camera_that_turns_over_a_pattern_takes_one_vector_nearly_everywhere() -> None:
    """With icm-1's linear transforms; gated ones follow what they were trained on, and patterns of arithmetic less."""
    wide = texture(160, 400, 7)
    pictures = [wide[:, 6 * step : 6 * step + 320] for step in range(6)]
    frames = coded(Bundle.load(ICM_1, threads=1), [np.ascontiguousarray(picture) for picture in pictures])
    fields = [frame.latents.field for frame in frames[2:] if frame.motion]
    assert fields
    for field in fields:
        assert field.global_motion == (0, 6)
        assert has_vectors(field.modes)[:, :-1].mean() > 0.5


@pytest.mark.parametrize("folder", SHIPPED_BUNDLES, ids=lambda folder: folder.name)
def test_a_camera_that_turns_over_a_photo_takes_one_vector_nearly_everywhere(folder: Path) -> None:
    photo = pan_over_photo()[0]
    pictures = [photo[100:260, 6 * step : 6 * step + 320].copy() for step in range(6)]
    frames = coded(Bundle.load(folder, threads=1), pictures)
    fields = [frame.latents.field for frame in frames[2:] if frame.motion]
    assert fields
    for field in fields:
        assert np.median(field.vectors[0]) == 0
        assert np.median(field.vectors[1]) == 6
        assert has_vectors(field.modes)[:, :-1].mean() > 0.5
