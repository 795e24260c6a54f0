"""What icm reads is told by its content: pictures by Pillow, all else by FFmpeg, whatever its name."""

from __future__ import annotations

import threading
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from icm.command.inputs import Input, open_frames, readable
from icm.errors import ConfigError, ImageError

SCENE = Image.fromarray(
    np.kron(np.random.default_rng(3).integers(0, 255, (9, 11, 3)), np.ones((16, 16, 1))).astype(np.uint8)
)
"""144x176, a size that every old codec knows."""


def frames_of(path: Path) -> list[tuple[int, ...]]:
    told: list[str] = []
    with readable(path) as source, open_frames(source, told.append, told.append) as (_, pictures):
        return [image.shape for _, image in pictures]


VIDEOS = {
    "mpeg": "mpeg2video",
    "vob": "mpeg2video",
    "mpegts": "libx264",
    "3gp": "h263",
    "flv": "flv",
    "asf": "wmv2",
    "h264": "libx264",
    "mpeg2video": "mpeg2video",
    "m4v": "mpeg4",
    "matroska": "libx264",
    "webm": "libvpx-vp9",
    "ivf": "libvpx-vp9",
    "mov": "prores_ks",
    "avi": "mpeg4",
    "nut": "mpeg4",
    "mxf": "mpeg2video",
    "yuv4mpegpipe": "wrapped_avframe",
    "mjpeg": "mjpeg",
    "mp4": "libx264",
}
PIXELS = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}


@pytest.mark.parametrize("format", VIDEOS)
@pytest.mark.parametrize(
    "name", ["film", "12:30:00.png", "a.jpg", "a.mp4", "a.txt", "%03d.png", "\udcff.mkv"], ids=ascii
)
def test_a_video_is_one_whatever_it_is_called(tmp_path: Path, format: str, name: str) -> None:
    codec = VIDEOS[format]
    with (tmp_path / name).open("wb") as file, av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 176, 144, PIXELS.get(codec, "yuv420p")
        for shift in range(4):
            image = av.VideoFrame.from_image(Image.fromarray(np.roll(np.asarray(SCENE), 16 * shift, 1)))
            container.mux(stream.encode(image.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    width = 192 if codec == "h263" else 176  # whose pixels are wider than high
    assert frames_of(tmp_path / name) == 4 * [(144, width, 3)]


@pytest.mark.parametrize(
    "format", ["PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "ICO"]
)
@pytest.mark.parametrize("name", ["photo", "a:b.mp4"])
def test_a_picture_is_one_whatever_it_is_called(tmp_path: Path, format: str, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        SCENE.resize((64, 64)).save(file, format)
    assert frames_of(tmp_path / name) == [(64, 64, 3)]


@pytest.mark.parametrize(("codec", "pixels"), [("jpegls", "rgb24"), ("exr", "gbrpf32le"), ("png", "rgb48be")])
def test_a_picture_that_only_ffmpeg_reads_is_one_too(tmp_path: Path, codec: str, pixels: str) -> None:
    with av.open(str(tmp_path / "x.png"), "w", format="image2") as container:
        stream = container.add_stream(codec, rate=1)
        stream.width, stream.height, stream.pix_fmt = 176, 144, pixels
        container.mux(stream.encode(av.VideoFrame.from_image(SCENE).reformat(format=pixels)))
        container.mux(stream.encode(None))
    assert frames_of(tmp_path / "x.png") == [(144, 176, 3)]


def test_a_float_picture_that_cannot_seek_is_read(tmp_path: Path) -> None:
    SCENE.convert("F").save(tmp_path / "x", "SPIDER")
    assert frames_of(tmp_path / "x") == [(144, 176, 3)]


def test_jpegs_one_behind_the_other_are_a_video_and_a_photo_with_something_behind_it_is_none(tmp_path: Path) -> None:
    file, small = BytesIO(), BytesIO()
    SCENE.save(file, "JPEG")
    SCENE.resize((44, 36)).save(small, "JPEG")
    (tmp_path / "frames.jpg").write_bytes(2 * file.getvalue())
    assert len(frames_of(tmp_path / "frames.jpg")) == 2
    for number, behind in enumerate((small.getvalue(), b"\0\0\0\x18ftypmp42" + bytes(90), b"trailer")):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(file.getvalue() + behind)
        assert len(frames_of(path)) == 1


def test_what_is_left_out_is_noted_and_what_is_missing_told(tmp_path: Path) -> None:
    photo, film = tmp_path / "photo.jpg", tmp_path / "film.gif"
    SCENE.save(photo, "MPO", save_all=True, append_images=[SCENE.resize((44, 36))])
    SCENE.copy().save(film, "GIF", save_all=True, append_images=[SCENE.rotate(90 * n) for n in (1, 2, 3)])
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    for path, notes, missing in ((photo, 1, 0), (film, 0, 1)):
        noted: list[str] = []
        told: list[str] = []
        source = Input(path, "the file")
        with open_frames(source, noted.append, told.append) as (_, pictures):
            assert list(pictures)
        assert (len(noted), len(told)) == (notes, missing)
        assert all(text.startswith("the file: ") for text in noted + told)


@pytest.mark.parametrize("name", ["x", "x.txt", "x.png", "x.mp4"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"words\n" * 99, b"\0" * 5000, bytes(range(256)) * 9])
def test_what_is_neither_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{tmp_path}/{name} "):
        frames_of(tmp_path / name)


def test_a_heif_photo_is_refused_rather_than_read_as_one_of_its_tiles(tmp_path: Path) -> None:
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(ImageError, match=r"x\.heic is a HEIF photo, .* save it as JPEG or PNG"):
        frames_of(tmp_path / "x.heic")


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    import os

    pipe, file = tmp_path / "pipe", BytesIO()
    os.mkfifo(pipe)
    SCENE.save(file, "PNG")
    writer = threading.Thread(target=pipe.write_bytes, args=(file.getvalue(),))
    writer.start()
    with readable(pipe) as source:
        assert source == Input(source.path, str(pipe))
        assert source.path.read_bytes() == file.getvalue()
    writer.join()
    assert not source.path.exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}/none: No such file"), readable(tmp_path / "none"):
        pass
