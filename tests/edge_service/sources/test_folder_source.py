from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from edge_service.sources.folder import FolderSource
from icm.errors import ConfigError, SourceError
from icm.service.clock import ManualClock


def pictures(folder: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        Image.new("RGB", (16 + index, 16), (index, 0, 0)).save(folder / name, "PNG")


def test_gives_pictures_in_order_of_their_names_so_many_a_second(tmp_path: Path, clock: ManualClock) -> None:
    pictures(tmp_path, ["b.png", "a.PNG", "c.jpg"])
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = list(FolderSource(tmp_path, 200.0, clock).frames(threading.Event()))
    assert [frame.image.shape[1] for frame in frames] == [17, 16, 18]
    assert [frame.capture_us - clock.now_us() for frame in frames] == [0, 5_000, 10_000]


def test_leaves_out_a_damaged_picture_and_names_it(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, ["a.png", "c.png"])
    (tmp_path / "b.png").write_bytes(b"damaged")
    assert len(list(FolderSource(tmp_path, 200.0, clock).frames(threading.Event()))) == 2
    assert f"left out {tmp_path / 'b.png'}" in caplog.text


def test_a_missing_or_empty_folder_is_named(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match=f"no folder at {tmp_path}/none"):
        FolderSource(tmp_path / "none", 1.0, clock).check()
    with pytest.raises(SourceError, match=f"{tmp_path} holds no pictures"):
        FolderSource(tmp_path, 1.0, clock).check()


def test_gives_pictures_upright_and_all_of_a_file(tmp_path: Path, clock: ManualClock) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (32, 16)).save(tmp_path / "a.jpg", exif=exif)
    several = [Image.new("RGB", (24, 24), (n, 0, 0)) for n in range(3)]
    several[0].save(tmp_path / "b.png", save_all=True, append_images=several[1:])
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    frames = list(FolderSource(tmp_path, 200.0, clock).frames(threading.Event()))
    assert [frame.image.shape[:2] for frame in frames] == [(32, 16), (24, 24), (24, 24), (24, 24), (8, 8)]
    assert [frame.capture_us - clock.now_us() for frame in frames] == [0, 5_000, 10_000, 15_000, 20_000]
