"""The ``icm`` command as a person uses it."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from icm.codec.bitstream.record import parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.stills import decode
from icm.command.cli import main
from tests.icm.media.videos import cut, joined, write


@pytest.fixture
def picture(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    path = tmp_path / "in.png"
    Image.fromarray(scene).save(path)
    return path


def icm(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_picture_goes_to_a_file_and_back(tmp_path: Path, picture: Path, bundle: Path) -> None:
    coded, decoded = tmp_path / "out.icm", tmp_path / "out.png"
    assert icm("encode", picture, coded, "--quality", 5, "--bundle", bundle) == 0
    assert icm("decode", coded, decoded, "--bundle", bundle) == 0
    assert coded.stat().st_size < picture.stat().st_size
    before, after = (np.asarray(Image.open(path), float) for path in (picture, decoded))
    assert np.abs(before - after).mean() < 12


def test_info_tells_what_a_file_holds(
    tmp_path: Path, picture: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "out.icm"
    icm("encode", picture, coded, "--quality", 2.5, "--bundle", bundle)
    capsys.readouterr()
    assert icm("info", coded, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["width"], facts["height"], facts["records"], facts["quality"]) == (150, 100, 1, [2.5])
    assert facts["bytes"] == coded.stat().st_size
    assert facts["bits_per_pixel"] == pytest.approx(8 * facts["bytes"] / 15_000, rel=1e-3)


def test_a_folder_goes_to_a_folder_and_back(tmp_path: Path, bundle: Path, scene: NDArray[np.uint8]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(scene).save(tmp_path / "in" / name)
    assert icm("encode", tmp_path / "in", tmp_path / "coded", "--bundle", bundle) == 0
    assert icm("decode", tmp_path / "coded", tmp_path / "back", "--bundle", bundle) == 0
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["a.png", "b.png"]


def test_files_of_a_folder_never_overwrite_each_other(
    tmp_path: Path, bundle: Path, scene: NDArray[np.uint8], small_clip: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("cat.png", "cat.jpg"):
        Image.fromarray(scene).save(tmp_path / "in" / name)
    assert icm("encode", tmp_path / "in", tmp_path / "coded", "--bundle", bundle) == 0
    assert icm("encode", small_clip, tmp_path / "coded" / "clip.icm", "--bundle", bundle) == 0
    assert icm("decode", tmp_path / "coded", tmp_path / "back", "--bundle", bundle) == 0
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["cat.jpg.png", "cat.png.png", "clip.mkv"]


def test_a_picture_comes_out_for_people_or_for_detectors_as_its_bundle_means_it(
    tmp_path: Path, bundle: Path, picture: Path
) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "grainy"))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"grain": [20.0] * 8, "detector_grain": []}))
    assert icm("encode", picture, tmp_path / "out.icm", "--bundle", other) == 0
    shown = []
    for name, options in (("people.png", []), ("detector.png", ["--for-detector"])):
        assert icm("decode", tmp_path / "out.icm", tmp_path / name, "--bundle", other, *options) == 0
        shown.append(np.asarray(Image.open(tmp_path / name)).astype(int))
    loaded, data = Bundle.load(other, threads=1), (tmp_path / "out.icm").read_bytes()
    assert np.array_equal(shown[0], decode(data, bundle=loaded))
    assert np.array_equal(shown[1], decode(data, bundle=loaded, for_detector=True))
    assert (shown[0] - shown[1]).std() > 10


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path, bundle: Path) -> None:
    ramp = np.linspace(0, 65_535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "in.png")
    assert icm("encode", tmp_path / "in.png", tmp_path / "out.icm", "--bundle", bundle) == 0
    assert icm("decode", tmp_path / "out.icm", tmp_path / "out.png", "--bundle", bundle) == 0
    assert np.asarray(Image.open(tmp_path / "out.png")).mean() == pytest.approx(127, abs=4)


def test_a_video_that_changes_its_size_is_refused_and_leaves_nothing(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = []
    for width in (96, 128):
        part = tmp_path / f"{width}.ts"
        with av.open(str(part), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
            for _ in range(3):
                grey = np.full((64, width, 3), 90, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    assert icm("encode", tmp_path / "both.ts", tmp_path / "out.icm", "--bundle", bundle) == 2
    assert "changes from 96x64 to 128x64 after" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out.icm*"))


def test_a_video_that_is_turned_on_the_way_is_refused_and_leaves_nothing(
    tmp_path: Path, bundle: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    frames = BytesIO()
    for orientation in (1, 1, 6):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(scene).save(frames, "JPEG", exif=exif)
    (tmp_path / "in.mjpeg").write_bytes(frames.getvalue())
    assert icm("encode", tmp_path / "in.mjpeg", tmp_path / "out.icm", "--bundle", bundle) == 2
    assert "changes from 150x100 to 100x150 after 2 frames" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.mjpeg"]


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may grow beyond 8 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("name", ["out.mkv", "out.png"])
def test_a_disk_without_room_is_one_line_and_leaves_nothing(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.jpg", quality=60)
    assert icm("encode", tmp_path / "in.jpg", tmp_path / "in.icm", "--quality", 5, "--bundle", bundle) == 0
    assert icm("decode", tmp_path / "in.icm", tmp_path / name, "--bundle", bundle) == 2
    assert f"cannot write {tmp_path / name}: File too large" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.icm", "in.jpg"]


def test_a_folder_as_the_file_to_write_is_named(
    tmp_path: Path, picture: Path, bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (".", "/", str(tmp_path)):
        assert icm("encode", picture, folder, "--bundle", bundle) == 2
        assert "is a folder: name the file to write" in capsys.readouterr().err


def test_a_video_becomes_a_stream_and_a_lossless_video(tmp_path: Path, small_clip: Path, bundle: Path) -> None:
    coded, decoded = tmp_path / "clip.icm", tmp_path / "clip.mkv"
    assert icm("encode", small_clip, coded, "--quality", 1, "--bundle", bundle) == 0
    assert icm("decode", coded, decoded, "--bundle", bundle) == 0
    header, records = parse_stream(coded.read_bytes())
    decoder = Decoder(Bundle.load(bundle))
    expected = [decoder.decode(record, header.width, header.height) for record in records]
    with av.open(str(decoded)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert len(frames) == len(expected) == 30
    assert all((a == b).all() for (_, a), b in zip(frames, expected, strict=True))
    assert [time for time, _ in frames] == pytest.approx([number / 10 for number in range(30)], abs=0.002)


@pytest.mark.parametrize("name", ["frames.gif", "frames.tif"])
def test_all_pictures_of_a_file_are_coded(
    tmp_path: Path, bundle: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pictures = [Image.fromarray(np.roll(scene, 20 * shift, axis=1)) for shift in range(3)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    assert icm("encode", tmp_path / name, tmp_path / "out.icm", "--bundle", bundle) == 0
    assert icm("info", tmp_path / "out.icm", "--json") == 0
    assert json.loads(capsys.readouterr().out)["records"] == 3


def test_a_turned_picture_is_coded_upright(tmp_path: Path, bundle: Path, scene: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(scene)).save(tmp_path / "in.png", exif=exif)
    assert icm("encode", tmp_path / "in.png", tmp_path / "out.icm", "--quality", 5, "--bundle", bundle) == 0
    assert icm("decode", tmp_path / "out.icm", tmp_path / "out.png", "--bundle", bundle) == 0
    assert np.abs(np.asarray(Image.open(tmp_path / "out.png"), float) - scene).mean() < 12


def test_a_folder_goes_to_a_folder_only(
    tmp_path: Path, picture: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (Path("-"), picture):
        for command in ("encode", "decode"):
            assert icm(command, tmp_path, target, "--bundle", bundle) == 2
            assert f"go to a folder, which {target} is not" in capsys.readouterr().err


def test_standard_input_and_output_stand_for_files(tmp_path: Path, picture: Path, bundle: Path) -> None:
    def run(*arguments: object, given: bytes) -> bytes:
        command = [sys.executable, "-m", "icm.command.cli", *map(str, arguments)]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout

    coded = run("encode", "-", "-", "--bundle", bundle, given=picture.read_bytes())
    assert icm("encode", picture, tmp_path / "out.icm", "--bundle", bundle) == 0
    assert coded == (tmp_path / "out.icm").read_bytes()
    decoded = Image.open(BytesIO(run("decode", "-", "-", "--bundle", bundle, given=coded)))
    assert (decoded.format, decoded.size) == ("PNG", (150, 100))
    assert json.loads(run("info", "-", "--json", given=coded))["records"] == 1


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_its_other_names_takes_a_picture_as_well(
    tmp_path: Path, picture: Path, bundle: Path, name: str
) -> None:
    assert icm("encode", picture, tmp_path / "out.icm", "--bundle", bundle) == 0
    command = [sys.executable, "-m", "icm.command.cli", "decode", tmp_path / "out.icm", name, "--bundle", bundle]
    with (tmp_path / "sent").open("wb") as sent:
        subprocess.run(command, stdout=sent, check=True)
    with Image.open(tmp_path / "sent") as decoded:
        assert decoded.size == (150, 100)


def test_a_picture_is_never_written_over_itself(
    tmp_path: Path, picture: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = picture.read_bytes()
    (tmp_path / "link.icm").symlink_to(picture)
    for target in (picture, tmp_path / "link.icm"):
        assert icm("encode", picture, target, "--bundle", bundle) == 2
        assert "is the file to read: name another one to write" in capsys.readouterr().err
    assert picture.read_bytes() == before


@pytest.mark.parametrize("threads", ["257", "9999", "-1", "1.5", "many"])
def test_a_number_of_threads_that_no_machine_has_is_refused_with_the_bound(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str], threads: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        icm("encode", picture, tmp_path / "out.icm", f"--threads={threads}")
    assert ended.value.code == 2
    assert f"a whole number from 0 to 256 is needed, not '{threads}'" in capsys.readouterr().err


@pytest.mark.parametrize("quality", ["nan", "inf", "-1", "7.1"])
def test_a_quality_out_of_range_is_refused_before_anything_is_read(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], quality: str
) -> None:
    assert icm("encode", tmp_path / "none.png", tmp_path / "x.icm", f"--quality={quality}", "--bundle", bundle) == 2
    assert "has levels 0 to 7" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("decode", "out.icm", "x.png"), ("info", "out.icm")])
def test_a_damaged_file_is_one_line_and_exit_code_2(
    tmp_path: Path, picture: Path, bundle: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    coded = tmp_path / "out.icm"
    icm("encode", picture, coded, "--bundle", bundle)
    coded.write_bytes(coded.read_bytes()[:-3])
    capsys.readouterr()
    command, *files = arguments
    extra = ("--bundle", bundle) if command == "decode" else ()
    assert icm(command, *(tmp_path / file for file in files), *extra) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"icm: {coded}: record 1 is cut off")
    assert error.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def times(path: Path) -> list[float]:
    """Capture times of a coded file's records, in seconds."""
    return [record.capture_us / 1e6 for record in parse_stream(path.read_bytes())[1]]


def shown(path: Path) -> list[float | None]:
    """Times of a video's frames, in seconds."""
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_a_video_whose_time_stamps_start_anew_is_coded_and_decoded_on_one_line(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = joined(tmp_path / "v.ts", write(tmp_path / "a.ts", b_frames=True), write(tmp_path / "b.ts", b_frames=True))
    coded, decoded = tmp_path / "v.icm", tmp_path / "v.mkv"
    assert icm("encode", video, coded, "--bundle", bundle) == 0
    assert f"icm: {video}: its time stamps jump back" in capsys.readouterr().err
    assert icm("decode", coded, decoded, "--bundle", bundle) == 0
    assert shown(decoded) == pytest.approx(times(coded), abs=0.001)
    assert shown(decoded) == pytest.approx([number / 10 for number in range(40)], abs=0.001)


def test_records_whose_times_go_back_are_shown_one_after_the_other(tmp_path: Path, bundle: Path) -> None:
    coded, decoded = tmp_path / "v.icm", tmp_path / "v.mkv"
    assert icm("encode", write(tmp_path / "v.mp4"), coded, "--bundle", bundle) == 0
    header, records = parse_stream(coded.read_bytes())
    mixed = [replace(record, capture_us=record.capture_us ^ 0x10000) for record in records]
    assert any(b.capture_us < a.capture_us for a, b in pairwise(mixed))
    coded.write_bytes(header.pack() + b"".join(record.pack(header) for record in mixed))
    assert icm("decode", coded, decoded, "--bundle", bundle) == 0
    assert len(shown(decoded)) == 20
    assert shown(decoded) == sorted(shown(decoded))


@pytest.mark.parametrize(
    ("missing", "make"),
    [
        ("17 frames came; 3 damaged packets left out", lambda at: write(at / "v.mkv", "mjpeg", bad=(4, 5, 11))),
        (
            "10 frames came; 1 of them damaged in part, it should hold 20: it may be cut off",
            lambda at: cut(at / "v.mp4", write(at / "w.mp4", "mjpeg", options={"movflags": "faststart"}), 0.62),
        ),
    ],
)
def test_a_damaged_video_is_coded_as_far_as_it_goes_and_the_status_is_3(
    tmp_path: Path,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    make: Callable[[Path], Path],
) -> None:
    video = make(tmp_path)
    assert icm("encode", video, tmp_path / "v.icm", "--bundle", bundle) == 3
    assert f"icm: {video}: {missing}" in capsys.readouterr().err
    assert len(times(tmp_path / "v.icm")) == int(missing.split()[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("none.png", None, "No such file"), ("text.png", b"not a picture", "cannot be read as a picture or a video")],
)
def test_what_is_no_picture_is_named(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert icm("encode", tmp_path / name, tmp_path / "out.icm", "--bundle", bundle) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.icm"))


def test_a_file_of_another_codec_names_both(
    tmp_path: Path, picture: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "out.icm"
    icm("encode", picture, coded, "--bundle", bundle)
    header, records = parse_stream(coded.read_bytes())
    other = replace(header, codec_id=bytes(32))
    coded.write_bytes(other.pack() + b"".join(record.pack(other) for record in records))
    assert icm("decode", coded, tmp_path / "x.png", "--bundle", bundle) == 2
    error = capsys.readouterr().err
    assert "0000000000000000" in error
    assert header.codec_id.hex()[:16] in error
    assert "--bundle" in error
