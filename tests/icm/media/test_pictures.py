"""Files of pictures: all that they hold, whatever is wrong with some of it, and nothing that costs too much."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from icm.errors import ImageError
from icm.media import jpeg
from icm.media.pictures import PictureFile, open_pictures, picture_bytes

RNG = np.random.default_rng(2)
BLOCKS = np.kron(RNG.integers(0, 200, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
"""48x64 with something in every block of 8."""
NOISE = Image.fromarray(RNG.integers(0, 256, (48, 64, 3), np.uint8))
FRAMES = [Image.fromarray(np.roll(BLOCKS, 8 * shift, axis=1)) for shift in range(4)]


def file_of(frames: list[Image.Image], format: str, **options: object) -> bytes:
    file = BytesIO()
    frames = [frame.copy() for frame in frames]  # what one format was told, Pillow would tell the next one
    frames[0].save(file, format, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def opened(data: bytes) -> PictureFile:
    return PictureFile(BytesIO(data), "the file")


def photo(**options: object) -> bytes:
    file = BytesIO()
    NOISE.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF", "TIFF", "MPO"])
def test_a_file_of_several_pictures_gives_them_all_as_pillow_shows_them(format: str) -> None:
    data = file_of(FRAMES[:3], format)
    expected = Image.open(BytesIO(data))
    assert expected.n_frames == 3
    file = opened(data)
    assert file.count == 3
    for number, (_, shown) in enumerate(file):
        expected.seek(number)
        assert (shown == np.asarray(expected.convert("RGB"))).all()
    assert number == 2
    assert file.shortfall() is None


@pytest.mark.parametrize(
    ("format", "durations", "times"),
    [
        ("GIF", [100, 40, 250, 100], [0, 100, 140, 390]),
        ("GIF", [0, 10, 30, 100], [0, 100, 200, 230]),
        ("WEBP", [100, 40, 250, 100], [0, 100, 140, 390]),
        ("PNG", [100, 40, 250, 100], [0, 100, 140, 390]),
        ("AVIF", [100, 40, 250, 100], [0, 100, 140, 390]),
        ("TIFF", None, [0, 1000, 2000, 3000]),
    ],
)
def test_animations_keep_their_times_and_pages_get_a_second(
    format: str, durations: list[int] | None, times: list[int]
) -> None:
    options = {} if durations is None else {"duration": durations}
    got = [time_us / 1000 for time_us, _ in opened(file_of(FRAMES, format, **options))]
    assert got == pytest.approx(times, abs=2)


def test_transparent_parts_of_an_animation_show_white() -> None:
    layered = [frame.convert("RGBA") for frame in FRAMES]
    for frame in layered:
        frame.putalpha(Image.fromarray(np.tile(np.array([[0], [255]], np.uint8), (24, 64))))
    for _, shown in opened(file_of(layered, "WEBP", lossless=True)):
        assert (shown[::2] == 255).all()
        assert (shown[1::2] != 255).any()


def test_what_lies_behind_a_photo_in_another_size_is_left_out_and_told() -> None:
    smaller = FRAMES[1].resize((32, 24))
    file = opened(file_of([FRAMES[0], smaller], "MPO"))
    assert (file.count, file.left_out) == (1, 1)
    ((_, shown),) = file
    assert shown.shape == (48, 64, 3)


def test_a_page_that_says_it_is_a_preview_is_none() -> None:
    file = opened(tiff_with_preview())
    assert [shown.shape for _, shown in file] == [(48, 64, 3)]


def tiff_with_preview() -> bytes:
    preview = FRAMES[1].resize((32, 24))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    file = BytesIO()
    FRAMES[0].copy().save(file, "TIFF", save_all=True, append_images=[preview])
    return file.getvalue()


def test_pages_of_several_sizes_are_refused_with_their_numbers() -> None:
    file = opened(file_of([*FRAMES[:2], FRAMES[2].resize((32, 24))], "TIFF"))
    with pytest.raises(ImageError, match="3 pictures of several sizes: number 3 is 32x24, those before are 64x48"):
        list(file)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG"])
def test_damage_costs_only_the_pictures_that_it_hit(format: str) -> None:
    data = bytearray(file_of(FRAMES, format, **({"compression": "tiff_lzw"} if format == "TIFF" else {})))
    if format == "TIFF":
        image = Image.open(BytesIO(data))
        image.seek(2)
        start = image.tag_v2[273][0]
        data[start : start + 40] = b"\xff" * 40
    else:
        del data[len(data) * 3 // 4 :]
    file = opened(bytes(data))
    came = list(file)
    assert 1 <= len(came) < 4
    assert (file.shortfall() or "").startswith(
        ("its end is missing after", f"{file.count - len(came)} of its {file.count} pictures cannot")
    )


@pytest.mark.parametrize("frames", [1, 3])
def test_a_bit_that_flipped_in_a_png_is_told_even_where_pillow_sees_nothing(frames: int) -> None:
    data = file_of(FRAMES[:frames], "PNG")
    start, unseen = data.index(b"IDAT") + 4, 0
    for place in range(start, len(data) - 40, 7):
        file = opened(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            whole = len(list(file)) == frames
        except ImageError:
            continue
        said = file.shortfall()
        if whole and said is not None:
            assert re.fullmatch(r"its part \w{4} at byte \d+ is damaged", said)
            unseen += 1
        assert said is not None
    assert unseen


def test_pages_that_the_list_leads_to_and_that_are_gone_are_told_of_and_libtiff_is_quiet(
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = file_of(FRAMES, "TIFF", compression="tiff_adobe_deflate")
    file = opened(data[: len(data) * 3 // 4])
    came = len(list(file))
    assert 1 <= came < 4
    assert f"those after the first {came} cannot be found" in (file.shortfall() or "")
    assert capfd.readouterr().err == ""


def test_a_picture_that_is_cut_off_is_refused() -> None:
    for format in ("PNG", "GIF", "TIFF", "WEBP", "BMP"):
        file = BytesIO()
        FRAMES[0].save(file, format)
        data = file.getvalue()
        with pytest.raises(ImageError, match="cut off"):
            list(opened(data[: len(data) // 2]))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("end", [b"", b"\xff", b"\0" * 40])
def test_a_jpeg_without_its_end_is_shown_as_browsers_show_it(end: bytes, progressive: bool) -> None:
    data = photo(progressive=progressive)
    ((_, shown),) = opened(data[:-2] + end)
    assert (shown == np.asarray(Image.open(BytesIO(data)))).all()


@pytest.mark.parametrize("progressive", [False, True])
@given(st.data())
def test_a_jpeg_that_lacks_more_than_its_end_is_refused(progressive: bool, data: st.DataObject) -> None:
    whole = photo(progressive=progressive)
    picture = np.asarray(Image.open(BytesIO(whole)))
    cut = data.draw(st.integers(whole.index(b"\xff\xda"), len(whole) - 3))
    try:
        ((_, shown),) = opened(whole[:cut])
    except ImageError:
        return
    assert (shown == picture).all()  # only bits that say nothing were cut off


def test_junk_behind_and_between_is_no_matter() -> None:
    data = photo()
    end = 4 + int.from_bytes(data[4:6])
    for odd in (data + b"\0" * 100 + b"junk", data[:end] + b"\0\0\1" + data[end:]):
        ((_, shown),) = opened(odd)
        assert (shown == np.asarray(Image.open(BytesIO(data)))).all()


def scans(count: int) -> bytes:
    """A progressive JPEG with its last scan so many times."""
    data = photo(progressive=True)
    last = data.rindex(b"\xff\xda")
    before = data.count(b"\xff\xda", 0, last)
    return data[:last] + (count - before) * data[last:-2] + data[-2:]


def test_a_jpeg_of_as_many_scans_as_programs_write_is_read() -> None:
    assert len(list(opened(scans(jpeg.MOST_SCANS)))) == 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (scans(jpeg.MOST_SCANS + 1), "more than 64 scans"),
        (scans(5000), "more than 64 scans"),
        (b"\xff\xd8" + 5000 * b"\xff\xfe\0\2" + photo()[2:], "more than 4096 segments"),
        (b"\x89PNG\r\n\x1a\n" + 70_000 * chunk(b"tEXt", b"a\0b"), "more than 65536 chunks"),
    ],
    ids=["scans", "many scans", "segments", "chunks"],
)
def test_what_would_take_long_to_decode_is_refused_before(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        opened(data)


def test_a_file_that_promises_billions_of_pictures_gives_those_that_it_has() -> None:
    data = file_of(FRAMES, "PNG")
    place = data.index(b"acTL") + 4
    promised = struct.pack(">II", 2**31 - 1, 0)
    data = data[:place] + promised + struct.pack(">I", zlib.crc32(b"acTL" + promised)) + data[place + 12 :]
    file = opened(data)
    assert file.count == 2**31 - 1
    assert len(list(file)) == 4
    assert (file.shortfall() or "").startswith("2147483643 of its 2147483647 pictures cannot be read; number 5: ")


def test_a_jpeg_of_more_pictures_than_anybody_puts_into_one_is_refused() -> None:
    data = bytearray(file_of(FRAMES[:2], "MPO"))
    # Its list of two is made one of 4000 that are all the first.
    start = data.index(b"MPF\0") + 4
    index = bytearray(data[start : start + 62])
    assert index.count(b"\x01\xb0\x04\0\x01\0\0\0") == 1
    place = index.index(b"\x01\xb0\x04\0\x01\0\0\0") + 8
    entries = 16 * 4000 * b"\0"
    index[place : place + 4] = struct.pack("<I", 4000)
    index[place + 8 : place + 12] = struct.pack("<I", len(entries))
    index[place + 12 : place + 16] = struct.pack("<I", len(index))
    segment = b"MPF\0" + bytes(index) + entries
    length = int.from_bytes(data[start - 6 : start - 4])
    data[start - 8 : start - 6 + length] = b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment
    with pytest.raises(ImageError, match="has 4000 pictures beside each other; up to 64 are read"):
        opened(bytes(data))


@given(st.integers(0, 3), st.binary(max_size=40))
def test_only_jpegs_right_behind_each_other_are_a_video(following: int, between: bytes) -> None:
    data = photo() + following * photo()
    assert jpeg.Markers(data).followed_by_frames() == (following > 0)
    other_size = BytesIO()
    FRAMES[0].resize((32, 24)).save(other_size, "JPEG")
    assert not jpeg.Markers(photo() + other_size.getvalue()).followed_by_frames()
    assert not jpeg.Markers(photo() + b"x" + between + photo()).followed_by_frames()


def test_every_format_that_can_be_named_can_be_written() -> None:
    picture: NDArray[np.uint8] = BLOCKS
    for suffix, format in ((".png", "PNG"), (".JPG", "JPEG"), (".webp", "WEBP"), (".tif", "TIFF"), (".bmp", "BMP")):
        assert Image.open(BytesIO(picture_bytes(picture, suffix))).format == format
    with pytest.raises(ImageError, match=r"not written as \.pdf: name it \.png or \.jpg"):
        picture_bytes(picture, ".pdf")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ImageError, match=f"cannot read {tmp_path}/none.png: No such file"),
        open_pictures(tmp_path / "none.png", f"{tmp_path}/none.png"),
    ):
        pass
