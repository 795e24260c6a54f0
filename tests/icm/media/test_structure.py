"""Containers tell whether a file is all there; FFmpeg reads what came of one that is not, and says nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.media.structure import broken
from tests.icm.media.videos import FPS, joined, write

ENDINGS = ["mp4", "mov", "mkv", "webm", "avi", "ts", "m2ts", "ogv", "flv", "wmv", "mxf"]
ASF, MXF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), bytes.fromhex("060e2b34")
CODECS = {"webm": "libvpx-vp9", "avi": "mjpeg", "ogv": "libvpx", "wmv": "wmv2", "mxf": "mpeg2video"}


def video(folder: Path, ending: str, **options: str) -> Path:
    # MXF holds the rates of television only.
    return write(
        folder / f"v.{ending}", CODECS.get(ending, "libx264"), options=options, fps=25 if ending == "mxf" else FPS
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_all_there_is_not_complained_of_and_each_cut_is(tmp_path: Path, ending: str) -> None:
    path = video(tmp_path, ending)
    assert broken(path) is None
    data = path.read_bytes()
    for missing in (1, 7, 100, len(data) // 2 + 1):
        path.write_bytes(data[:-missing])
        assert "it may be cut off" in (broken(path) or "")


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ogv", "flv", "wmv", "mxf"])
def test_what_stands_behind_a_whole_file_is_nothing_that_is_missing(tmp_path: Path, ending: str) -> None:
    path = video(tmp_path, ending)
    path.write_bytes(path.read_bytes() + b"\xee some words behind it" * 9)
    assert broken(path) is None


def test_what_was_recorded_live_has_no_lengths_and_is_looked_into(tmp_path: Path) -> None:
    path = video(tmp_path, "mkv", live="1")
    assert broken(path) is None
    path.write_bytes(path.read_bytes()[:-5])
    assert "it may be cut off" in (broken(path) or "")


def test_a_piece_that_is_gone_from_the_middle_is_noticed(tmp_path: Path) -> None:
    path = video(tmp_path, "mkv", cluster_time_limit="300")
    data = path.read_bytes()
    middle = data.index(b"\x1f\x43\xb6\x75", len(data) // 3) + 30
    # What the beginning says of the length is put right, so that this alone is wrong.
    path.write_bytes(data[:middle] + data[middle + 50 :] + bytes(50))
    assert "its structure is damaged at byte" in (broken(path) or "")


@pytest.mark.parametrize("ending", ["mkv", "ts", "ogv"])
def test_files_behind_each_other_are_all_there(tmp_path: Path, ending: str) -> None:
    part = video(tmp_path, ending)
    assert broken(joined(tmp_path / f"both.{ending}", part, part)) is None


def pages_of(path: Path) -> list[bytes]:
    return [b"OggS" + page for page in path.read_bytes().split(b"OggS")[1:]]


def test_a_damaged_page_and_one_that_is_gone_from_an_ogg_file_are_noticed(tmp_path: Path) -> None:
    path = video(tmp_path, "ogv", page_duration="100000")
    pages = pages_of(path)
    middle = len(pages) // 2
    place = sum(map(len, pages[:middle]))
    path.write_bytes(b"".join(pages[:middle] + pages[middle + 1 :]))
    assert broken(path) == f"pages are missing before byte {place}"
    damaged = pages[middle][:-1] + bytes([pages[middle][-1] ^ 1])
    path.write_bytes(b"".join([*pages[:middle], damaged, *pages[middle + 1 :]]))
    assert broken(path) == f"its page at byte {place} is damaged"
    path.write_bytes(b"".join(pages[:-1]))
    assert broken(path) == "its last page is missing: it may be cut off"


@given(
    st.sampled_from(
        [b"", b"RIFF", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67", b"\0\0\0\x08moov", b"OggS", b"FLV", ASF, MXF]
    ),
    st.binary(max_size=80),
)
def test_any_bytes_give_an_answer(start: bytes, rest: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(start + rest)
        file.flush()
        assert broken(Path(file.name)) is None or start
