"""A video can be played from any five seconds of capture time on, by what its table says, and cut off anywhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_service.archive.fragments import Fragment, pack_fragments, unpack_fragments
from cloud_service.archive.mp4_layout import Layout
from cloud_service.archive.video import VideoEncoder
from tests.debian_tools import environment, needed

START_US = 1_790_000_000_250_000


def encode(times_us: Sequence[int], start_us: int = START_US) -> Layout:
    """A video of noise that moves, with frames at these times after the start."""
    noise = np.random.default_rng(7).integers(0, 255, (32, 48, 3), np.uint8)
    video = VideoEncoder(48, 32)
    for number, time in enumerate(times_us):
        video.add(np.roll(noise, number, axis=1), start_us + time)
    return video.finish()


def at_rate(fps: float, seconds: float) -> list[int]:
    return [round(number * 1e6 / fps) for number in range(round(fps * seconds))]


def packets(data: bytes) -> list[tuple[int, bool]]:
    """Time in microseconds and whether it is a key frame, of each packet."""
    with av.open(BytesIO(data), "r") as container:
        return [
            (round(of.pts * of.time_base * 1_000_000), of.is_keyframe)
            for of in container.demux(video=0)
            if of.pts is not None and of.time_base is not None
        ]


def alone(made: Layout, fragment: Fragment) -> bytes:
    """A fragment and what it needs before it."""
    return made.init + made.mp4[fragment.offset : fragment.offset + fragment.length]


def probe(program: str, path: Path, *wanted: str) -> Any:
    """What ffprobe says of a file."""
    command = [program, "-v", "error", "-of", "json", *wanted, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment()).stdout)


def decoded(data: bytes) -> int:
    """How many frames a player gets out of a file, however that ends."""
    frames = 0
    try:
        with av.open(BytesIO(data), "r") as container:
            for _ in container.decode(video=0):
                frames += 1
    except av.FFmpegError:
        pass
    return frames


@pytest.mark.parametrize(
    ("fps", "keys"), [(0.1, [0, 10, 20]), (0.5, [0, 6, 12, 18]), (10, [0, 5, 10, 15, 20]), (60, [0, 5, 10, 15, 20])]
)
def test_a_key_frame_comes_every_five_seconds_of_capture_time_or_with_the_next_frame_after(
    fps: float, keys: list[float]
) -> None:
    made = encode(at_rate(fps, 21 if fps > 0.1 else 30))
    assert [time / 1e6 for time, key in packets(made.mp4) if key] == pytest.approx(keys, abs=0.02)
    assert [(of.start_us - START_US) / 1e6 for of in made.fragments] == pytest.approx(keys, abs=0.02)


@given(
    st.lists(st.one_of(st.integers(-500_000, 900_000), st.integers(0, 15_000_000)), min_size=1, max_size=30),
    st.integers(0, 4_000_000_000_000_000),
)
@settings(max_examples=25, deadline=None)
def test_each_fragment_plays_by_itself_at_the_times_that_the_table_says(gaps: list[int], start_us: int) -> None:
    times = np.cumsum([0, *gaps]).tolist()
    made = encode(times, start_us)
    count = 0
    for number, fragment in enumerate(made.fragments):
        found = packets(alone(made, fragment))
        count += len(found)
        assert found[0] == (pytest.approx(fragment.start_us, abs=20), True)
        assert not any(key for _, key in found[1:])
        assert decoded(alone(made, fragment)) == len(found)
        end = fragment.start_us + fragment.duration_us
        assert all(time < end for time, _ in found)
        if number + 1 < len(made.fragments):
            assert made.fragments[number + 1].start_us == pytest.approx(end, abs=20)
    assert count == len(times) == decoded(made.mp4)


def test_times_in_fragments_count_from_1970_to_the_tick() -> None:
    made = encode(at_rate(10, 11))
    for fragment in made.fragments:
        data = alone(made, fragment)
        at = data.index(b"tfdt") + 8
        assert int.from_bytes(data[at : at + 8], "big") == fragment.start_us * 9 // 100


def test_fragments_of_one_size_share_their_init_segment_and_others_have_another() -> None:
    early, late = encode([0, 100_000], 0), encode(at_rate(2, 30))
    assert early.init == late.init
    other = VideoEncoder(64, 32)
    other.add(np.zeros((32, 64, 3), np.uint8), START_US)
    assert other.finish().init != early.init


def test_ranges_of_many_files_behind_one_init_segment_play_as_one_stream_by_wall_clock(tmp_path: Path) -> None:
    program = needed("ffprobe")
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:6", '#EXT-X-MAP:URI="init.mp4"']
    for number, seconds in enumerate((0, 10, 40)):
        made = encode(at_rate(10, 10), START_US + seconds * 1_000_000)
        (tmp_path / f"{number}.mp4").write_bytes(made.mp4)
        (tmp_path / "init.mp4").write_bytes(made.init)
        for of in made.fragments:
            lines += [f"#EXTINF:{of.duration_us / 1e6},", f"#EXT-X-BYTERANGE:{of.length}@{of.offset}", f"{number}.mp4"]
    (tmp_path / "day.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    told = probe(program, tmp_path / "day.m3u8", "-show_packets")
    captured = [START_US / 1e6 + start + time / 1e6 for start in (0, 10, 40) for time in at_rate(10, 10)]
    assert [float(of["pts_time"]) for of in told["packets"]] == pytest.approx(captured, rel=0, abs=1e-4)


@pytest.mark.parametrize("seconds", [0.2, 4, 12])
def test_for_a_player_the_file_is_a_plain_one_that_starts_at_once_and_has_the_right_length(
    seconds: float, tmp_path: Path
) -> None:
    made = encode(at_rate(10, seconds))
    (tmp_path / "video.mp4").write_bytes(made.mp4)
    program = needed("ffprobe")
    told = probe(program, tmp_path / "video.mp4", "-show_format", "-show_streams", "-show_packets", "-count_frames")
    (stream,) = told["streams"]
    assert float(told["format"]["start_time"]) == float(stream["start_time"]) == 0.0
    assert float(told["format"]["duration"]) == float(stream["duration"]) == pytest.approx(seconds, abs=0.001)
    assert int(stream["nb_frames"]) == int(stream["nb_read_frames"]) == round(10 * seconds)
    assert [float(of["pts_time"]) for of in told["packets"]] == pytest.approx(
        [time / 1e6 for time in at_rate(10, seconds)], abs=1e-4
    )


def test_a_file_that_was_cut_off_anywhere_plays_up_to_its_last_whole_fragment() -> None:
    made = encode(at_rate(10, 16))
    sizes = [len(packets(alone(made, fragment))) for fragment in made.fragments]
    assert sizes == [50, 50, 50, 10]
    ends = [fragment.offset + fragment.length for fragment in made.fragments]
    first = made.fragments[0].offset
    for cut in {*np.linspace(first, len(made.mp4), 60, dtype=int), *ends, *(end - 1 for end in ends)}:
        whole = sum(size for size, end in zip(sizes, ends, strict=True) if end <= cut)
        assert decoded(made.mp4[:cut]) >= whole, cut
    assert decoded(made.mp4) == sum(sizes)


@given(st.integers(0, 1 << 52), st.lists(st.tuples(*(st.integers(0, 1 << 40) for _ in range(4))), max_size=5))
def test_a_table_of_fragments_comes_back_as_it_was(start_us: int, rows: list[tuple[int, int, int, int]]) -> None:
    fragments = tuple(Fragment(offset, length, start_us + at, us) for offset, length, at, us in rows)
    assert unpack_fragments(pack_fragments(fragments, start_us), start_us) == fragments
    assert unpack_fragments("", start_us) == ()
