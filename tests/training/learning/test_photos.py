"""Which photos are trained on, at what scales, and which are held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from icm_train.data.photo_shard import coding_step, pack
from icm_train.learning.measurement import Curve, HeldOut, bits_against
from icm_train.learning.photos import COARSE, TrainingCrops, held_out
from tests.training.small_run import CONFIG


def index(shard: Path) -> list[dict[str, object]]:
    photos: list[dict[str, object]] = json.loads(shard.with_suffix(".json").read_text())
    return photos


def step_of(path: Path) -> float:
    with Image.open(path) as image:
        return coding_step(image)


@pytest.mark.parametrize(("quality", "low", "high"), [(95, 1, 2.5), (75, 5, 9), (50, 10, 18)])
def test_the_coding_step_tells_how_coarsely_a_jpeg_was_quantised(
    quality: int, low: float, high: float, tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.jpg", quality=quality)
    assert low < step_of(tmp_path / "a.jpg") < high


def test_a_picture_that_is_no_jpeg_has_no_coding_step(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    assert step_of(tmp_path / "a.png") == 0


def test_reducing_a_photo_when_packing_reduces_its_coding_step(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 1200)).save(tmp_path / "a.jpg", quality=60)
    step = step_of(tmp_path / "a.jpg")
    pack([tmp_path], tmp_path / "photos.u8", largest=800)
    assert index(tmp_path / "photos.u8")[0]["coding_step"] == pytest.approx(step / 2, abs=0.01)


def test_photos_are_packed_as_people_see_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = np.full((300, 400, 3), 20, np.uint8)
    turned[:, :200] = 240
    Image.fromarray(turned).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGBA", (300, 300)).save(tmp_path / "b.png")
    Image.fromarray(np.full((300, 300), 0x8000, np.uint16)).save(tmp_path / "c.png")
    several = [Image.new("RGB", (300, 300), (9 * n, 0, 0)) for n in range(3)]
    several[0].save(tmp_path / "d.webp", save_all=True, append_images=several[1:])
    pack([tmp_path], tmp_path / "photos.u8")
    photos, pixels = index(tmp_path / "photos.u8"), np.fromfile(tmp_path / "photos.u8", np.uint8)
    assert [(photo["height"], photo["width"]) for photo in photos] == [(400, 300), *3 * [(300, 300)]]
    first, clear, grey, _ = np.split(pixels, [photo["offset"] for photo in photos[1:]])
    upright = first.reshape(400, 300, 3)
    assert upright[:190].mean() > 220 > 40 > upright[-190:].mean()
    assert (clear == 255).all()
    assert (grey == 128).all()
    assert "of the 3 pictures in" in caplog.text


def test_held_out_photos_are_clean_or_finely_coded_and_the_same_in_any_order(shard: Path) -> None:
    photos = index(shard)
    chosen = [photos[n] for n in held_out(photos)]
    assert len(chosen) == 2
    assert all(float(str(photo["coding_step"])) < COARSE for photo in chosen)
    assert [photos[::-1][n]["name"] for n in held_out(photos[::-1])] == [photo["name"] for photo in chosen]


def test_held_out_photos_are_never_trained_on(tmp_path: Path) -> None:
    for number in range(40):
        Image.new("RGB", (300, 300), (6 * number, 6 * number, 6 * number)).save(tmp_path / f"{number}.png")
    shard = tmp_path / "photos.u8"
    pack([tmp_path], shard)
    crops = TrainingCrops(shard, CONFIG.recipe)
    photos = index(shard)
    forbidden = {6 * int(str(photos[n]["name"]).removesuffix(".png")) for n in held_out(photos)}
    seen = {int(picture[0, 0, 0]) for step in range(60) for picture in crops.batch(step)}
    assert len(forbidden) == 2
    assert not seen & forbidden
    assert len(seen) == 38


def test_coarsely_coded_photos_are_used_reduced_and_very_coarse_ones_not_at_all(tmp_path: Path) -> None:
    # One pixel in two is lit: a crop at the photo's own scale has the full contrast, a reduced one has not.
    board = (np.indices((400, 400)).sum(0) % 2 * 200 + 20).astype(np.uint8)[..., None].repeat(3, 2)
    Image.fromarray(board).save(tmp_path / "fine.png")
    shard = tmp_path / "photos.u8"
    pack([tmp_path], shard)
    photos = index(shard)
    recipe = replace(CONFIG.recipe, crop=128)

    def contrast(step: float) -> float:
        photos[0]["coding_step"] = step
        shard.with_suffix(".json").write_text(json.dumps(photos))
        crops = TrainingCrops(shard, recipe)
        return max(float(crops.batch(number).float().std()) for number in range(8))

    assert contrast(0) > 80
    assert contrast(8) < 60
    with pytest.raises(FileNotFoundError, match="no photo to train on"):
        contrast(20)


def test_the_same_step_sees_the_same_crops(shard: Path) -> None:
    one, other = (TrainingCrops(shard, CONFIG.recipe) for _ in range(2))
    one.batch(1)
    assert (one.batch(7) == other.batch(7)).all()
    assert (one.batch(8) != other.batch(7)).any()


def test_avif_is_measured_once_and_kept(shard: Path) -> None:
    first = HeldOut(shard).avif
    stored = shard.with_suffix(".avif.json")
    before = stored.stat().st_mtime_ns
    assert HeldOut(shard).avif == first
    assert stored.stat().st_mtime_ns == before
    assert first.bpp == sorted(first.bpp)


def test_avifs_curve_is_measured_anew_on_other_photos(tmp_path: Path) -> None:
    curves = []
    for spread in (10, 60):
        folder = tmp_path / str(spread)
        folder.mkdir()
        texture = np.random.default_rng(1).normal(128, spread, (70, 70, 3)).clip(0, 255).astype(np.uint8)
        for number in range(20):
            Image.fromarray(texture.repeat(4, 0).repeat(4, 1)).save(folder / f"{number}.png")
        pack([folder], tmp_path / "photos.u8")
        curves.append(HeldOut(tmp_path / "photos.u8").avif)
    assert curves[0] != curves[1]


def test_curves_that_have_nothing_in_common_or_do_not_rise_cannot_be_compared() -> None:
    anchor = Curve([0.1, 0.2, 0.4], [26, 29, 32])
    assert np.isnan(bits_against(anchor, Curve([0.1, 0.2, 0.4], [36, 39, 42])))
    assert np.isnan(bits_against(anchor, Curve([0.1, 0.2, 0.4], [29, 28, 27])))
    # A point that is dearer and worse than another does not count.
    assert bits_against(anchor, Curve([0.1, 0.15, 0.2, 0.4], [26, 25, 29, 32])) == pytest.approx(0, abs=0.01)


def test_bits_against_a_curve_are_by_how_much_more_it_takes_at_equal_psnr() -> None:
    anchor = Curve([0.1, 0.2, 0.4, 0.8], [26, 29, 32, 35])
    assert bits_against(anchor, Curve([0.09, 0.18, 0.36, 0.72], [26, 29, 32, 35])) == pytest.approx(-10, abs=0.1)
