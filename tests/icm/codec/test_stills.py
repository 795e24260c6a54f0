"""``icm.encode`` and ``icm.decode``: one picture to bytes and back, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import icm
from icm.command.cli import main


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    row, column = np.mgrid[0:48, 0:64]
    return np.stack((row * 4, column * 3, row + column), -1).astype(np.uint8)


@pytest.fixture(scope="module")
def coded(picture: np.ndarray) -> bytes:
    return icm.encode(picture)


def test_a_picture_comes_back_and_a_better_one_costs_more(picture: np.ndarray) -> None:
    errors, sizes = [], []
    for quality in (0, 3.5, 7):
        data = icm.encode(picture, quality)
        again = icm.decode(data)
        assert (again.shape, again.dtype) == (picture.shape, np.uint8)
        errors.append(np.abs(again.astype(int) - picture).mean())
        sizes.append(len(data))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 3


def test_the_command_writes_and_reads_the_same_files(tmp_path: Path, picture: np.ndarray, coded: bytes) -> None:
    Image.fromarray(picture).save(tmp_path / "in.png")
    assert main(["encode", str(tmp_path / "in.png"), str(tmp_path / "in.icm")]) == 0
    assert (tmp_path / "in.icm").read_bytes() == coded
    assert main(["decode", str(tmp_path / "in.icm"), str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "out.png") as shown:
        assert np.array_equal(np.asarray(shown), icm.decode(coded))


def test_pictures_of_pillow_and_views_of_arrays_are_taken(picture: np.ndarray, coded: bytes) -> None:
    assert icm.encode(Image.fromarray(picture)) == coded
    wide = np.repeat(picture, 2, axis=1)
    assert icm.encode(wide[:, ::2]) == coded


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((8, 8), np.uint8), r"shape \[H, W, 3\].*not \[8, 8\].*numpy\.repeat"),
        (np.zeros((8, 8, 4), np.uint8), r"not \[8, 8, 4\].*alpha"),
        (np.zeros((3, 8, 8), np.uint8), r"not \[3, 8, 8\]"),
        (np.zeros((8, 8, 3), np.float32), r"uint8, 0 to 255, not float32.*\* 255"),
        (np.zeros((8, 8, 3), np.int64), "not int64"),
        (np.zeros((0, 8, 3), np.uint8), "0"),
        (np.zeros((1, 16_385, 3), np.uint8), "16385"),
        ("photo.jpg", "not str: open the file first"),
        (b"\xff\xd8", "not bytes: open the file first"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_picture_is_named_with_what_would_be_one(image: object, said: str) -> None:
    with pytest.raises(icm.errors.ImageError, match=said):
        icm.encode(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("quality", [-1, 7.01, float("nan"), float("inf"), "3", None, True, [3]])
def test_a_quality_that_there_is_not_is_named_with_those_that_there_are(picture: np.ndarray, quality: object) -> None:
    with pytest.raises(icm.errors.ConfigError, match="0 to 7"):
        icm.encode(picture, quality)  # type: ignore[arg-type]


def test_a_bundle_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(icm.errors.BundleError, match=str(tmp_path)):
        icm.Bundle.load(tmp_path)


@pytest.mark.parametrize("data", ["text", None, 3, [1, 2]])
def test_what_is_no_bytes_is_said(data: object) -> None:
    with pytest.raises(icm.errors.RecordError, match=f"not as {type(data).__name__}: read it first"):
        icm.decode(data)  # type: ignore[arg-type]


def test_a_file_of_several_pictures_says_how_to_take_it_apart(picture: np.ndarray, coded: bytes) -> None:
    header, records = icm.parse_stream(coded)
    (record,) = records
    again = icm.Record(2, 1, record.kind, 0, record.quality, record.digest, record.payload)
    with pytest.raises(icm.errors.RecordError, match=r"holds 2 pictures.*icm\.parse_stream"):
        icm.decode(coded + again.pack(header))
    with pytest.raises(icm.errors.RecordError, match="holds 0 pictures"):
        icm.decode(header.pack())


def test_a_file_of_another_codec_is_no_damaged_one(coded: bytes) -> None:
    header, records = icm.parse_stream(coded)
    (record,) = records
    other = icm.StreamHeader(bytes(32), header.camera, 1, 0, header.width, header.height)
    with pytest.raises(icm.errors.CodecMismatchError, match="made with codec 0000000000000000"):
        icm.decode(other.pack() + record.pack(other))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_bytes_are_a_picture_or_one_typed_error(coded: bytes, data: st.DataObject) -> None:
    damaged = bytearray(coded)
    for place in data.draw(st.sets(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    given = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with pytest.raises(icm.IcmError):
        icm.decode(given)
    with pytest.raises(icm.IcmError):
        icm.decode(data.draw(st.binary(max_size=200)))
