"""Made clips: a camera that stands still, with things that move through its picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from icm.errors import ConfigError
from icm_train.data.clips import Clips
from icm_train.data.masks import write_masks
from icm_train.data.photo_shard import pack


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of slopes, each with one disc that its mask shows."""
    folder = tmp_path_factory.mktemp("clips")
    disc = Image.new("1", (200, 160))
    ImageDraw.Draw(disc).ellipse((60, 40, 130, 120), fill=1)
    mask = np.asarray(disc, bool)
    rows, columns = np.mgrid[0:160, 0:200]
    for number in range(3):
        planes = np.stack([rows, columns, (rows + 40 * number) % 256], -1).astype(np.uint8)
        planes[mask] = (250, 20, 20)
        Image.fromarray(planes).save(folder / f"{number}.png")
    pack([folder], folder / "photos.u8", smallest=100)
    write_masks(folder / "photos.u8", lambda image: mask, {})
    return folder / "photos.u8"


def test_clips_are_reproducible_pictures_of_the_size_asked_for(shard: Path) -> None:
    first, again = (Clips(shard, 96, 4, seed=3) for _ in range(2))
    clip = first.clip()
    assert clip.shape == (4, 96, 96, 3)
    assert clip.dtype == np.uint8
    assert (clip == again.clip()).all()
    assert (clip != first.clip()).any()


def test_most_of_a_picture_stands_still_and_something_moves(shard: Path) -> None:
    clips = Clips(shard, 128, 5, seed=1)
    still, moving = 0.0, 0
    for _ in range(12):
        clip = clips.clip().astype(int)
        change = np.abs(clip[-1] - clip[0]).max(-1)
        still = max(still, float((change <= 12).mean()))
        moving += int((change > 60).any())
    assert still > 0.8
    assert moving >= 6


def test_a_shard_without_masks_is_refused(shard: Path, tmp_path: Path) -> None:
    bare = tmp_path / "photos.u8"
    bare.write_bytes(shard.read_bytes())
    bare.with_suffix(".json").write_text(shard.with_suffix(".json").read_text())
    with pytest.raises(ConfigError, match="no masks beside it"):
        Clips(bare, 96, 3, seed=1)


def test_masks_without_any_whole_object_are_refused(shard: Path, tmp_path: Path) -> None:
    empty = tmp_path / "photos.u8"
    empty.write_bytes(shard.read_bytes())
    empty.with_suffix(".json").write_text(shard.with_suffix(".json").read_text())
    write_masks(empty, lambda image: np.zeros(image.shape[:2], bool), {})
    with pytest.raises(ConfigError, match="cut out"):
        Clips(empty, 96, 3, seed=1)
