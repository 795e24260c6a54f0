"""``icm`` on files that are damaged or oddly called: one message that a person can act on, and all that can be had."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from icm.command.cli import main
from icm.command.inputs import Input, open_frames
from icm.errors import ImageError
from tests.icm.media.videos import cut, write


def icm(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


def read(path: Path) -> tuple[int, list[str]]:
    """How many pictures came, and what is missing."""
    missing: list[str] = []
    with open_frames(Input(path, "the file"), lambda _: None, missing.append) as (_, pictures):
        return len([picture.shape for _, picture in pictures]), missing


@pytest.mark.parametrize("damaged", [(4,), (2, 3, 7)])
def test_damaged_frames_that_say_another_size_cost_themselves_only(tmp_path: Path, damaged: tuple[int, ...]) -> None:
    frames = [jpeg(np.full((48, 72 if number in damaged else 64, 3), 90, np.uint8)) for number in range(10)]
    (tmp_path / "v.mjpeg").write_bytes(b"".join(frames))
    came, missing = read(tmp_path / "v.mjpeg")
    assert came == 10 - len(damaged)
    assert missing == [f"the file: {len(damaged)} damaged frame{'s' * (len(damaged) > 1)} of another size left out"]


def test_a_size_that_stays_changed_is_refused_with_the_place(tmp_path: Path) -> None:
    for after in (1, 30):
        frames = [jpeg(np.zeros((48, 64 if number < 5 else 72, 3), np.uint8)) for number in range(5 + after)]
        (tmp_path / "v.mjpeg").write_bytes(b"".join(frames))
        with pytest.raises(ImageError, match="the file changes from 64x48 to 72x48 after 5 frames: cut it in two"):
            read(tmp_path / "v.mjpeg")


def test_a_video_whose_frames_are_too_large_is_named_before_one_is_converted(tmp_path: Path) -> None:
    with BytesIO() as file:
        Image.new("L", (17_000, 8)).save(file, "JPEG")
        (tmp_path / "v.mjpeg").write_bytes(2 * file.getvalue())
    with pytest.raises(ImageError, match=r"the file: .*17000x8"):
        read(tmp_path / "v.mjpeg")


def test_a_video_of_which_nothing_can_be_had_is_one_line(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, path in enumerate((cut(tmp_path / "cut.mkv", write(tmp_path / "w.mkv"), 0.1), tmp_path / "bad.avi")):
        if number:
            write(path, "mjpeg", bad=range(20))
        assert icm("encode", path, tmp_path / "out.icm", "--bundle", bundle) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"icm: {path} holds no frames: ")


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_video_that_was_cut_off_before_its_table_says_so(tmp_path: Path, share: float) -> None:
    with pytest.raises(ImageError, match=r"part 'm(dat|oov)' are missing at its end: it may be cut off"):
        read(cut(tmp_path / "cut.mp4", write(tmp_path / "v.mp4"), share))


def test_a_damaged_stream_that_cannot_be_written_as_asked_is_one_line(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert icm("encode", write(tmp_path / "v.mp4"), tmp_path / "v.icm", "--bundle", bundle) == 0
    cut(tmp_path / "cut.icm", tmp_path / "v.icm", 0.7)
    assert icm("decode", tmp_path / "cut.icm", tmp_path / "out.png", "--bundle", bundle) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "name the output .mkv" in line


@pytest.mark.parametrize("name", ["two\nlines.png", "\x1b[31mred.png", "tab\t.png", "raw\udcff.png"])
def test_what_a_name_holds_cannot_break_the_message_or_reach_the_terminal(
    tmp_path: Path, bundle: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"no picture")
    assert icm("encode", tmp_path / name, tmp_path / "out.icm", "--bundle", bundle) == 2
    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert said[:-1].isprintable()
    assert str(tmp_path) in said
