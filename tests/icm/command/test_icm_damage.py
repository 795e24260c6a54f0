"""What is damaged costs ``icm`` itself only; what is missing is said, and the exit status is 3."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from icm.codec.bitstream.record import parse_stream
from tests.bundles import ICM_1
from tests.icm.command.test_icm_command import icm


def test_a_folder_goes_on_past_what_is_damaged_and_says_what_is_missing(
    tmp_path: Path, bundle: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.jpg"):
        Image.fromarray(scene).save(folder / name)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("words")
    assert icm("encode", folder, tmp_path / "coded", "--bundle", bundle) == 3
    assert sorted(path.name for path in (tmp_path / "coded").iterdir()) == ["a.png.icm", "c.jpg.icm"]
    error = capsys.readouterr().err
    assert f"left out: {folder / 'b.png'} is cut off or damaged" in error
    assert "2 of 3 files are done" in error
    assert f"left out of {folder}, not called like pictures: notes.txt" in error
    (tmp_path / "coded" / "b.icm").write_bytes(b"damaged")
    assert icm("decode", tmp_path / "coded", tmp_path / "back", "--bundle", bundle) == 3
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["a.png", "c.png"]
    assert f"left out: {tmp_path / 'coded' / 'b.icm'}" in capsys.readouterr().err


def test_a_folder_of_damage_alone_is_an_error(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"damaged")
    assert icm("encode", tmp_path / "in", tmp_path / "coded", "--bundle", bundle) == 2
    assert "none of the 1 files could be read" in capsys.readouterr().err
    assert not (tmp_path / "coded").exists()


def test_a_stream_that_was_cut_off_gives_all_its_whole_records(
    tmp_path: Path, small_clip: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "clip.icm"
    assert icm("encode", small_clip, coded, "--quality", 1, "--bundle", bundle) == 0
    whole = coded.read_bytes()
    coded.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert icm("info", coded, "--json") == 3
    output = capsys.readouterr()
    count = json.loads(output.out)["records"]
    assert 0 < count < 30
    assert f"{count} whole records are left" in output.err
    assert icm("decode", coded, tmp_path / "clip.mkv", "--bundle", bundle) == 3
    with av.open(str(tmp_path / "clip.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == count


def test_frames_that_lean_on_a_damaged_one_are_told_and_the_others_decoded(
    tmp_path: Path, small_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = ICM_1  # which codes all of this clip but the first as P records
    coded = tmp_path / "clip.icm"
    assert icm("encode", small_clip, coded, "--quality", 1, "--bundle", bundle) == 0
    header, records = parse_stream(coded.read_bytes())
    kept = list(records)
    packed = [record.pack(header) for record in kept]
    later = [replace(one, sequence=one.sequence + 30, capture_us=one.capture_us + 3_000_000) for one in kept]
    again = [record.pack(header) for record in later]
    damaged = bytearray(packed[9])
    damaged[30] ^= 1
    coded.write_bytes(header.pack() + b"".join([*packed[:9], damaged, *packed[10:], *again]))
    assert icm("decode", coded, tmp_path / "clip.mkv", "--bundle", bundle) == 3
    error = capsys.readouterr().err
    assert "record 10 is damaged" in error
    assert "20 records cannot be decoded" in error
