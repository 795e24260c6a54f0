"""Pictures and frames are shown as Pillow's and ffmpeg's viewers show them, which are the judges here."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from icm.codec.bitstream.record import MAX_PIXELS, MAX_SIDE
from icm.media.orientation import ShownFrames, shown_picture, square_size

WHITE = 255


@pytest.fixture(scope="module")
def lopsided() -> Image.Image:
    """96x64, and different from itself however it is turned or mirrored."""
    row, column = np.mgrid[0:64, 0:96]
    planes = np.stack([2 * column + row // 2, 255 - 3 * row, np.where(column + 2 * row < 70, 220, 40)], -1)
    return Image.fromarray(planes.clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, format: str, **options: object) -> Image.Image:
    file = BytesIO()
    image.save(file, format, **options)
    return Image.open(file)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_a_picture_is_upright_whatever_its_format_and_orientation(
    lopsided: Image.Image, format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = BytesIO()
    lopsided.save(file, format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    assert expected.shape == ((96, 64, 3) if orientation > 4 else (64, 96, 3))
    assert (shown_picture(Image.open(file)) == expected).all()


def test_an_orientation_that_stands_in_xmp_alone_counts(lopsided: Image.Image) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert shown_picture(saved(lopsided, "WEBP", xmp=xmp)).shape == (96, 64, 3)


@pytest.mark.filterwarnings("ignore")
@given(st.binary(max_size=60))
def test_metadata_of_no_use_does_not_keep_a_picture_from_being_shown(data: bytes) -> None:
    picture = saved(Image.new("RGB", (8, 6), (9, 99, 199)), "PNG", exif=b"Exif\0\0MM\0*" + data)
    assert sorted(shown_picture(picture).shape) == [3, 6, 8]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_every_opaque_mode_is_shown_as_pillow_shows_it(lopsided: Image.Image, mode: str) -> None:
    picture = saved(lopsided.convert(mode), "TIFF") if mode not in ("HSV", "P") else lopsided.convert(mode)
    assert (shown_picture(picture) == np.asarray(picture.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La", "P"])
def test_what_is_transparent_shows_white(lopsided: Image.Image, mode: str) -> None:
    alpha = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (64, 48)))
    layered = lopsided.convert("L" if mode in ("LA", "La") else "RGB")
    layered.putalpha(alpha)
    if mode in ("PA", "P"):
        layered = lopsided.quantize(64)
        if mode == "PA":
            layered.putalpha(alpha)
    picture = layered if layered.mode == mode else layered.convert(mode)
    if mode == "P":
        picture = saved(picture, "PNG", transparency=3)
        clear = np.asarray(picture) == 3
    else:
        clear = np.asarray(alpha) == 0
    shown = shown_picture(picture)
    assert clear.any()
    assert (shown[clear] == WHITE).all()
    opaque = np.asarray((picture.convert("LA") if mode == "La" else picture).convert("RGBA"))[:, :, :3]
    assert (shown[~clear] == opaque[~clear]).all()


@pytest.mark.parametrize(
    ("mode", "colour", "key"), [("RGB", (10, 20, 30), (10, 20, 30)), ("L", 77, 77), ("I;16", 7777, 7777), ("1", 0, 0)]
)
def test_a_colour_that_stands_for_nothing_shows_white(mode: str, colour: object, key: object) -> None:
    picture = Image.new(mode, (8, 8), colour)
    assert (shown_picture(saved(picture, "PNG", transparency=key)) == WHITE).all()


def test_half_transparent_is_half_white() -> None:
    assert shown_picture(Image.new("RGBA", (4, 4), (0, 100, 200, 128)))[0, 0].tolist() == pytest.approx(
        [127, 177, 227], abs=1
    )


RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    ("values", "format"),
    [
        ((65_535 * RAMP).astype(np.uint16), "PNG"),
        ((65_535 * RAMP).astype(np.uint16), "TIFF"),
        ((65_535 * RAMP).astype(np.int32), "PPM"),
        ((65_535 * RAMP).astype(np.int32), "TIFF"),
        ((255 * RAMP).astype(np.int32), "TIFF"),
        ((2**31 - 1) * RAMP, "TIFF int"),
        (-(2**31) + (2**32 - 1) * RAMP, "TIFF int"),
        (RAMP.astype(np.float32), "TIFF"),
        ((255 * RAMP).astype(np.float32), "TIFF"),
        ((65_535 * RAMP).astype(np.float32), "TIFF"),
        ((1e6 * RAMP - 5e5).astype(np.float32), "TIFF"),
        (RAMP.astype(np.float32), "PPM"),
    ],
)
def test_grey_of_any_depth_goes_from_black_to_white(values: NDArray[np.generic], format: str) -> None:
    if format == "TIFF int":
        values, format = values.astype(np.int32), "TIFF"
    shown = shown_picture(saved(Image.fromarray(values), format))
    assert difference(shown, np.repeat(np.rint(255 * RAMP)[:, :, None], 3, 2).astype(np.uint8)) < 1


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    for values, format in ((np.full((8, 8), 300, np.uint16), "PNG"), (np.full((8, 8), 200, np.int32), "PPM")):
        assert shown_picture(saved(Image.fromarray(values), format)).max() <= 1


def test_values_that_are_no_numbers_show_black() -> None:
    values = np.array([[np.nan, np.inf], [0.5, 1.0]], np.float32)
    assert shown_picture(Image.fromarray(values))[:, :, 0].tolist() == [[0, 0], [128, 255]]


# What follows is about videos; FFmpeg's own filters say what is right.


def video(
    path: Path, image: Image.Image, codec: str = "libx264", pix_fmt: str = "yuv444p", aspect: Fraction | None = None,
    **turn: object,
) -> Path:  # fmt: skip
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"qp": "0"} if codec == "libx264" else {})
        stream.width, stream.height = image.size
        stream.pix_fmt = pix_fmt
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(**turn)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_image(image).reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


def decoded(path: Path, format: str | None = None) -> Iterator[tuple[av.VideoFrame, NDArray[np.uint8]]]:
    with av.open(str(path), format=format) as container:
        shown = ShownFrames(container.streams.video[0])
        for frame in container.decode(video=0):
            yield frame, shown(frame)


def filtered(frame: av.VideoFrame, *filters: tuple[str, str]) -> NDArray[np.uint8]:
    graph = Graph()
    last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    for step in (*(graph.add(*one) for one in filters), graph.add("format", "rgb24"), graph.add("buffersink")):
        last.link_to(step)
        last = step
    graph.configure()
    graph.push(frame)
    return last.pull().to_ndarray()


FLIP, MIRROR = ("vflip", ""), ("hflip", "")


@pytest.mark.parametrize("mirror", [(), (MIRROR,), (FLIP,)], ids=["", "mirrored", "flipped"])
@pytest.mark.parametrize(
    ("degrees", "turn"),
    [
        (0, ()),
        (90, (("transpose", "cclock"),)),
        (180, (MIRROR, FLIP)),
        (-90, (("transpose", "clock"),)),
    ],
)
def test_frames_are_turned_as_the_display_matrix_says(
    tmp_path: Path,
    lopsided: Image.Image,
    degrees: int,
    turn: tuple[tuple[str, str], ...],
    mirror: tuple[tuple[str, str]],
) -> None:
    path = video(tmp_path / "a.mp4", lopsided, degrees=degrees, hflip=MIRROR in mirror, vflip=FLIP in mirror)
    frames = list(decoded(path))
    assert len(frames) == 3
    for frame, shown in frames:
        assert difference(shown, filtered(frame, *turn, *mirror)) == 0


def test_a_frame_that_lies_askew_is_turned_within_its_own_size(tmp_path: Path, lopsided: Image.Image) -> None:
    frame, shown = next(decoded(video(tmp_path / "a.mp4", lopsided, degrees=20)))
    expected = filtered(frame, ("format", "rgb24"), ("rotate", f"{-20 * np.pi / 180}"))
    assert difference(shown[16:48, 24:72], expected[16:48, 24:72]) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_frames_of_jpeg_video_are_turned_as_their_exif_says(
    tmp_path: Path, lopsided: Image.Image, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = BytesIO()
    lopsided.save(file, "JPEG", exif=exif, quality=95)
    (tmp_path / "a.mjpeg").write_bytes(3 * file.getvalue())
    frames = list(decoded(tmp_path / "a.mjpeg", "mjpeg"))
    assert len(frames) == 3
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    assert all(difference(shown, expected) < 3 for _, shown in frames)


@pytest.mark.parametrize("degrees", [0, 90])
@pytest.mark.parametrize("aspect", [Fraction(16, 15), Fraction(4, 3), Fraction(1, 2), Fraction(1)])
def test_pixels_become_square(tmp_path: Path, lopsided: Image.Image, aspect: Fraction, degrees: int) -> None:
    path = video(tmp_path / "a.mp4", lopsided, aspect=aspect, degrees=degrees)
    frame, shown = next(decoded(path))
    shape = Fraction(frame.width, frame.height) * aspect
    height, width = shown.shape[:2]
    if degrees == 0:
        assert height == frame.height
        width_expected = f"w={round(96 * aspect)}:h=64:flags=bilinear"
        assert difference(shown, filtered(frame, ("scale", width_expected))) < 2
    else:
        assert height == frame.width
        shape = 1 / shape
    assert width / height == pytest.approx(float(shape), rel=0.02)


@given(
    st.integers(1, MAX_SIDE),
    st.integers(1, MAX_SIDE),
    st.fractions(Fraction(1, 70_000), 70_000, max_denominator=70_000),
)
def test_square_pixels_never_make_a_picture_too_large(width: int, height: int, aspect: Fraction) -> None:
    if width * height > MAX_PIXELS:
        return
    across, down = square_size(width, height, aspect)
    assert 1 <= across <= MAX_SIDE
    assert 1 <= down <= MAX_SIDE
    assert across * down <= MAX_PIXELS
    if min(across, down) > 50 and aspect.limit_denominator(1000) == aspect:
        assert across / down == pytest.approx(float(width * aspect / height), rel=0.02)


@pytest.mark.parametrize(("codec", "pix_fmt", "name"), [("png", "rgba", "a.mov"), ("ffv1", "bgra", "a.mkv")])
def test_what_is_transparent_in_a_video_shows_white(
    tmp_path: Path, lopsided: Image.Image, codec: str, pix_fmt: str, name: str
) -> None:
    layered = lopsided.copy()
    alpha = np.tile(np.array([0, 128, 255, 255], np.uint8), (64, 24))
    layered.putalpha(Image.fromarray(alpha))
    frames = av.VideoFrame.from_ndarray(np.asarray(layered), format="rgba")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
        container.mux(stream.encode(frames.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    (_, shown), *_ = decoded(tmp_path / name)
    assert difference(shown, shown_picture(layered)) < 0.5
    assert (shown[alpha == 0] == WHITE).all()


@pytest.mark.parametrize("width", [*range(1, 19), 100])
@pytest.mark.parametrize("pix_fmt", ["yuva420p", "yuva444p", "rgba"])
def test_transparency_reaches_the_last_column_whatever_the_width(pix_fmt: str, width: int) -> None:
    layered = np.full((6, width, 4), (40, 90, 160, 128), np.uint8)
    frame = av.VideoFrame.from_ndarray(layered, format="rgba").reformat(format=pix_fmt)
    with av.open(BytesIO(), "w", format="matroska") as container:
        shown = ShownFrames(container.add_stream("ffv1", rate=1))(frame)
    assert np.abs(shown.astype(int) - (147, 172, 207)).max() <= 4
