"""``icm-bench sheet``: the same crop of every codec, at no more bits than ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.media.video_files import LosslessVideo
from icm_bench.accuracy.picture_codecs.base import Picture
from icm_bench.cli import main
from icm_bench.pages.sheet import CROP, at_most, hardest_window, read, row_of


@pytest.fixture(scope="module")
def picture() -> Picture:
    """Calm, but for a rough corner at the lower right."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:208, :256]
    grey = (80 + rows / 4 + columns / 4)[:, :, None].repeat(3, 2)
    grey[120:, 140:] += random.normal(0, 40, (88, 116, 3))
    return grey.clip(0, 255).astype(np.uint8)


def test_anchors_take_no_more_bits_than_ours(picture: Picture) -> None:
    cells = row_of(picture, Bundle.load(DEFAULT_BUNDLE, threads=1), 5)
    assert [cell.title.split()[0] for cell in cells] == ["original", "JPEG", "AVIF", cells[4].title, cells[4].title]
    ours = cells[4].bpp
    assert cells[3].bpp == ours
    for anchor in cells[1:3]:
        assert 0.5 * ours < anchor.bpp <= ours
        assert anchor.picture.shape == picture.shape


def test_a_format_that_cannot_be_as_small_is_shown_at_its_worst(picture: Picture) -> None:
    assert at_most("JPEG", picture, 1e-6).setting == "0"


def test_the_crop_is_where_the_codec_is_farthest_from_the_original(picture: Picture) -> None:
    worse = picture.copy()
    worse[120:, 140:] = 0
    top, left = hardest_window(picture, worse)
    assert top + CROP >= 200
    assert left + CROP >= 240


def test_the_command_writes_a_row_of_five_crops_for_each_picture(picture: Picture, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(tmp_path / name)
    sheet = tmp_path / "sheet.png"
    assert main(["sheet", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--sheet", str(sheet)]) == 0
    with Image.open(sheet) as drawn:
        assert drawn.width >= 5 * 2 * CROP
        assert drawn.height >= 2 * 2 * CROP


def test_a_picture_smaller_than_a_crop_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (300, 100)).save(tmp_path / "flat.png")
    assert main(["sheet", str(tmp_path / "flat.png")]) == 1
    assert "flat.png is 300x100" in capsys.readouterr().err


def test_a_frame_of_a_video_is_read_by_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "clip.mkv").open("wb") as file:
        video = LosslessVideo(file, 192, 176)
        for number in range(3):
            video.write(number * 40_000, np.full((176, 192, 3), 50 * number, np.uint8))
        video.finish()
    assert (read(f"{tmp_path}/clip.mkv@2") == 100).all()
    assert main(["sheet", f"{tmp_path}/clip.mkv@3"]) == 1
    assert "has no frame 3" in capsys.readouterr().err
