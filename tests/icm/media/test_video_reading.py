"""Files of cameras and recorders: every frame that can be had, at rising times, and a word about what is missing."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from icm.media import video_reading
from icm.media.video_reading import VideoReader
from tests.debian_tools import environment, may_leave_out, path_of
from tests.icm.media.videos import FPS, FRAMES, cut, in_decoding_order, joined, spoilt, updated, write

Make = Callable[[Path], Path]


def read(path: Path) -> tuple[list[float], list[str], str | None]:
    """A file's times in seconds, what was said on the way, and what is missing."""
    said: list[str] = []
    with av.open(str(path)) as container:
        reader = VideoReader(container, path, said.append)
        times = [time_us / 1e6 for time_us, _ in reader.frames()]
    return times, said, reader.shortfall()


def even(count: int = FRAMES, fps: float = FPS) -> list[float]:
    return [number / fps for number in range(count)]


WHOLE: dict[str, Make] = {
    **{
        f"b-frames in {ending}": lambda at, ending=ending: write(at / f"v.{ending}", b_frames=True)  # type: ignore[misc]
        for ending in ("mp4", "mkv", "avi", "ts", "flv", "mov", "h264")
    },
    "mpeg-4 in avi": lambda at: write(at / "v.avi", "mpeg4"),
    "mpeg-1": lambda at: write(at / "v.mpg", "mpeg1video", fps=25),
    "mjpeg in avi": lambda at: write(at / "v.avi", "mjpeg"),
    "starts long before zero": lambda at: write(at / "v.nut", stamp=updated(-5)),
    "starts late": lambda at: write(at / "v.mkv", stamp=updated(500)),
    "wraps": lambda at: write(at / "v.ts", stamp=updated(2**33 / 90_000 - 2.4)),
    "one frame a minute": lambda at: write(at / "v.mp4", fps=Fraction(1, 60)),
    "one frame an hour": lambda at: write(at / "v.mkv", fps=Fraction(1, 3600)),
    "one frame a minute, b-frames": lambda at: write(at / "v.mp4", b_frames=True, fps=Fraction(1, 60)),
    "one frame a minute in ts": lambda at: write(at / "v.ts", b_frames=True, fps=Fraction(1, 60)),
    "longer sound": lambda at: write(at / "v.mkv", sound_seconds=6),
    "longer sound in avi": lambda at: write(at / "v.avi", sound_seconds=6),
    "fragments": lambda at: write(at / "v.mp4", options={"movflags": "frag_keyframe+empty_moov"}),
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_a_whole_file_gives_all_frames_evenly_and_misses_nothing(tmp_path: Path, make: Make) -> None:
    path = make(tmp_path)
    times, said, missing = read(path)
    name = next(name for name, this in WHOLE.items() if this is make)
    paces = {"one frame a minute": 1 / 60, "one frame an hour": 1 / 3600, "mpeg-1": 25.0}
    fps = next((fps for pace, fps in paces.items() if name.startswith(pace)), FPS)
    assert times == pytest.approx(even(fps=fps), abs=0.002)
    assert (said, missing) == ([], None)


def test_times_of_raw_frames_are_those_that_their_stream_says(tmp_path: Path) -> None:
    assert read(write(tmp_path / "v.m2v", "mpeg2video", fps=25))[0] == pytest.approx(even(fps=25), abs=0.002)


JUMPS: dict[str, tuple[Make, str]] = {
    "starts anew": (
        lambda at: joined(at / "v.ts", write(at / "a.ts"), write(at / "b.ts")),
        "jump back by 2.0 s after 2.0 s",
    ),
    "starts anew, b-frames": (
        lambda at: joined(at / "v.ts", write(at / "a.ts", b_frames=True), write(at / "b.ts", b_frames=True)),
        "jump back by 2.0 s after 2.0 s",
    ),
    "starts anew below the first": (
        lambda at: joined(at / "v.ts", write(at / "a.ts", stamp=updated(900)), write(at / "b.ts")),
        "after 2.0 s",
    ),
    "leaps by an hour": (
        lambda at: joined(at / "v.ts", write(at / "a.ts"), write(at / "b.ts", stamp=updated(3602))),
        "jump ahead by 3600.0 s after 2.0 s",
    ),
    "leaps by a year": (
        lambda at: joined(at / "v.mkv", write(at / "a.mkv"), write(at / "b.mkv", stamp=updated(365 * 86_400.0))),
        "jump ahead by 3153",
    ),
}


@pytest.mark.parametrize(("make", "word"), JUMPS.values(), ids=JUMPS)
def test_a_line_of_time_that_jumps_goes_on_without_the_jump_and_that_is_said(
    tmp_path: Path, make: Make, word: str
) -> None:
    times, said, missing = read(make(tmp_path))
    assert times == pytest.approx(even(2 * FRAMES), abs=0.002)
    assert missing is None
    assert len(said) == 1
    assert word in said[0]


def test_a_pause_of_a_recording_is_kept(tmp_path: Path) -> None:
    times, said, _ = read(write(tmp_path / "v.mp4", stamp=updated(3600, first=10)))
    assert times == pytest.approx([number / FPS + 3600 * (number >= 10) for number in range(FRAMES)], abs=0.002)
    assert said == []


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_stamps_in_decoding_order_give_rising_times_of_the_right_length(tmp_path: Path, ending: str) -> None:
    times, _, _ = read(write(tmp_path / f"v.{ending}", b_frames=True, stamp=in_decoding_order))
    assert all(a < b for a, b in pairwise(times))
    # The container drops frames that its stamps place before its start.
    assert FRAMES - 3 <= len(times) <= FRAMES
    assert times[-1] == pytest.approx((len(times) - 1) / FPS, abs=0.25)


BAD = (5, 6, 12)


@pytest.mark.parametrize("ending", ["mkv", "avi", "mp4", "mov"])
def test_a_bad_packet_costs_its_frame_and_no_other(tmp_path: Path, ending: str) -> None:
    times, said, missing = read(write(tmp_path / f"v.{ending}", "mjpeg", bad=BAD))
    assert times == pytest.approx([number / FPS for number in range(FRAMES) if number not in BAD], abs=0.002)
    assert said[0].startswith("packet 6, after 5 frames, is damaged")
    assert missing == "17 frames came; 3 damaged packets left out"


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_frames_that_lean_on_a_damaged_one_come_all_the_same_and_are_counted(tmp_path: Path, codec: str) -> None:
    path = spoilt(write(tmp_path / "v.mp4", codec), 3, 14)
    times, _, missing = read(path)
    # Of a damaged frame itself a decoder may make something or nothing.
    assert FRAMES - 2 <= len(times) <= FRAMES
    assert times[-1] == pytest.approx((FRAMES - 1) / FPS, abs=0.101)
    assert missing is not None
    assert missing.startswith(f"{len(times)} frames came; ")


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "flv"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_file_that_was_cut_off_says_that_more_was_promised(tmp_path: Path, ending: str, share: float) -> None:
    first_of_all = {"movflags": "faststart"} if ending == "mp4" else {}
    whole = write(tmp_path / f"whole.{ending}", "mjpeg" if ending != "flv" else "flv1", options=first_of_all)
    times, _, missing = read(cut(tmp_path / f"cut.{ending}", whole, share))
    assert 0 < len(times) < FRAMES
    assert times == pytest.approx(even(len(times)), abs=0.002)
    assert missing is not None
    assert missing.startswith(f"{len(times)} frame")


@pytest.mark.parametrize("share", [0.5, 0.93, 0.99])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts"])
def test_a_file_that_lacks_its_last_bytes_says_so_however_few_they_are(
    tmp_path: Path, ending: str, share: float
) -> None:
    first_of_all = {"movflags": "faststart"} if ending == "mp4" else {}
    whole = write(tmp_path / f"whole.{ending}", options=first_of_all)
    assert "cut off" in (read(cut(tmp_path / f"cut.{ending}", whole, share))[2] or "")


def test_jpeg_frames_without_their_end_are_named_where_others_have_one(tmp_path: Path) -> None:
    data = write(tmp_path / "v.mjpeg", "mjpeg").read_bytes()
    path = tmp_path / "cut.mjpeg"
    path.write_bytes(data[:-40])
    assert read(path)[2] == "20 frames came; 1 of them damaged in part"
    path.write_bytes(data.replace(b"\xff\xd9", b""))  # as some cameras write them
    assert read(path)[2] is None


def test_frames_that_a_transmission_lost_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "v.ts", "mpeg2video", fps=25)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    # All packets from one frame's first to another's.
    data[places[7] : places[9]] = bytes(places[9] - places[7])
    path.write_bytes(data)
    times, _, missing = read(path)
    assert len(times) < FRAMES
    assert "lost with parts that are missing" in (missing or "")


def test_the_video_that_players_show_is_taken_and_the_others_are_told(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for width in (32, 64, 48):
            stream = container.add_stream("ffv1", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.disposition = Disposition.default if width == 48 else Disposition(0)
            streams.append(stream)
        for stream in streams:
            frame = av.VideoFrame(stream.width, 48, "yuv420p")
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    for disposition, width in ((True, 48), (False, 64)):
        said: list[str] = []
        with av.open(str(path)) as container:
            if not disposition:
                for stream in container.streams.video:
                    stream.disposition = Disposition(0)
            reader = VideoReader(container, path, said.append)
            assert [frame.width for _, frame in reader.frames()] == [width]
        assert said == [f"it holds 3 videos, of which the one that players show is taken, {width}x48"]


@pytest.mark.skipif(path_of("ffmpeg") is None and may_leave_out(), reason="needs Debian's ffmpeg")
@pytest.mark.parametrize("make", [*WHOLE.values(), *(make for make, _ in JUMPS.values())], ids=[*WHOLE, *JUMPS])
def test_times_are_those_of_ffmpeg(tmp_path: Path, make: Make) -> None:
    path = make(tmp_path)
    options = ["-nostdin", "-v", "quiet", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    command = [path_of("ffmpeg") or "ffmpeg", *options]
    listed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment()).stdout
    (unit,) = [Fraction(line.split()[-1]) for line in listed.splitlines() if line.startswith("#tb")]
    stamps = [int(line.split(",")[2]) * unit for line in listed.splitlines() if not line.startswith("#")]
    assert read(path)[0] == pytest.approx([float(stamp - stamps[0]) for stamp in stamps], abs=0.002)


def begun_in_the_middle(at: Path, *bad: int) -> Path:
    """Without its first three packets, so that there are seven more before one that a decoder can begin with."""
    whole = write(at / "whole.mkv", "mpeg2video", bad=bad)
    with av.open(str(whole)) as source, av.open(str(at / "v.mkv"), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            if number >= 3:
                packet.stream = stream
                container.mux(packet)
    return at / "v.mkv"


@pytest.mark.parametrize(
    ("make", "damaged"),
    [
        (lambda at: begun_in_the_middle(at), 0),
        (lambda at: begun_in_the_middle(at, 13, 14), 2),
        (lambda at: write(at / "v.mkv", "mpeg2video", bad=(5, 14)), 2),
        (lambda at: write(at / "v.mkv", "mpeg2video", bad=range(FRAMES)), FRAMES),
    ],
    ids=["middle", "middle, damaged", "damaged", "nothing whole"],
)
@pytest.mark.parametrize("most", [4, 1024])
def test_what_gave_no_picture_is_counted_however_long_the_first_picture_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make, damaged: int, most: int
) -> None:
    monkeypatch.setattr(video_reading, "_MOST_BEFORE_FIRST", most)
    path = make(tmp_path)
    with av.open(str(path)) as container:
        reader = VideoReader(container, path, print)
        list(reader.frames())
    assert reader.damaged == damaged


def test_what_a_reader_keeps_does_not_grow_with_the_video(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", b_frames=True)
    with av.open(str(path)) as container:
        reader = VideoReader(container, path, print)
        kept = [
            sum(len(value) for value in vars(reader).values() if isinstance(value, list | dict | set | deque))
            for _ in reader.frames()
        ]
    assert len(kept) == FRAMES
    assert kept[-1] == kept[0]
