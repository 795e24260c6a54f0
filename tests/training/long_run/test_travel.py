"""The photos in one small file: as good as fits, and a run can train on them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm_train.cli import main
from icm_train.data.photo_shard import pack
from icm_train.learning.photos import held_out

SIDE = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve photos: PNG, finely, coarsely and too coarsely coded JPEG; and a file that is no photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(1)
    kinds = (("png", {}), ("jpg", {"quality": 92}), ("jpg", {"quality": 75}), ("jpg", {"quality": 20}))
    for number in range(12):
        texture = random.normal(0, 25, (SIDE // 2, SIDE // 2, 3)).repeat(2, 0).repeat(2, 1)
        suffix, options = kinds[number % 4]
        picture = Image.fromarray((128 + texture).clip(0, 255).astype(np.uint8))
        picture.save(folder / f"{number}.{suffix}", **options)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def small(folder: Path, archive: Path, megabytes: float) -> int:
    arguments = ["--photos", str(folder), "--archive", str(archive), "--megabytes", str(megabytes)]
    return main(["long", "pack", *arguments])


def test_the_file_keeps_within_its_bytes_and_takes_the_clean_photos_first(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_train.long_run.travel.HELD_OUT", 3)
    assert small(folder, tmp_path / "large.zip", 5) == 0
    assert "9 of 9 photos" in capsys.readouterr().out
    room = (tmp_path / "large.zip").stat().st_size * 0.75
    assert small(folder, tmp_path / "tight.zip", room / 1e6) == 0
    assert (tmp_path / "tight.zip").stat().st_size <= room
    with zipfile.ZipFile(tmp_path / "tight.zip") as file:
        names = file.namelist()
    assert 3 < len(names) < 9
    assert {Path(name).stem for name in names[:3]} == {"0", "4", "8"}


def test_coarse_photos_are_reduced_and_those_that_no_run_uses_left_out(folder: Path, tmp_path: Path) -> None:
    assert small(folder, tmp_path / "a.zip", 5) == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        file.extractall(tmp_path / "unpacked")
        assert len(file.namelist()) == 9
    sides = []
    for path in sorted((tmp_path / "unpacked").rglob("*.webp")):
        with Image.open(path) as image:
            sides.append(image.width)
    # At 0.6 of their size they would be too small to be packed.
    assert sorted(sides) == [256] * 3 + [SIDE] * 6
    pack([tmp_path / "unpacked"], tmp_path / "photos.u8")
    assert (tmp_path / "photos.u8").stat().st_size == (6 * SIDE**2 + 3 * 256**2) * 3


def test_held_out_photos_do_not_travel(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (260, 260), (number, 0, 0)).save(folder / f"{number}.png")
    pack([folder], tmp_path / "photos.u8")
    photos = json.loads((tmp_path / "photos.json").read_text())
    apart = {photos[n]["name"].removesuffix(".png") for n in held_out(photos)}
    assert small(folder, tmp_path / "a.zip", 5) == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        travelling = {Path(name).stem for name in file.namelist()}
    assert len(apart) == 2
    assert travelling == {str(number) for number in range(40)} - apart


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert small(folder, tmp_path / "a.zip", 0.01) == 2
    assert "only 0 of 9 photos fit into 0.01 MB" in capsys.readouterr().err
    assert not (tmp_path / "a.zip").exists()
