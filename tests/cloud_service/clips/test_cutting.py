"""A clip holds exactly the frames of its stretch, shown when they were captured, and is a file for every player."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud_service.archive.video import VideoEncoder
from cloud_service.clips.cutting import Cut, write_clip
from icm.errors import NotFoundError, StorageError
from tests.debian_tools import environment, needed

START_US = 1_790_000_000_250_000


def piece(times_us: Sequence[int]) -> bytes:
    """A piece with frames at these times after the start; how bright one is tells the second that it is from."""
    video = VideoEncoder(48, 32)
    for time in times_us:
        video.add(np.full((32, 48, 3), 20 + 10 * (time // 1_000_000 % 20), np.uint8), START_US + time)
    mp4, init, fragments = video.finish()
    return init + mp4[fragments[0].offset : fragments[-1].offset + fragments[-1].length]


def cut(target: Path, pieces: Sequence[bytes], from_us: int, to_us: int) -> Cut:
    return write_clip(target, iter(pieces), START_US + from_us, START_US + to_us)


def times(target: Path) -> list[float]:
    with av.open(str(target)) as container:
        return [float(frame.time or 0.0) for frame in container.decode(video=0)]


def every(step_us: int, first: int, end: int) -> list[int]:
    return list(range(first, end, step_us))


def test_the_first_frame_is_the_first_of_the_stretch_though_no_key_frame_and_the_last_one_ends_with_it(
    tmp_path: Path,
) -> None:
    pieces = [piece(every(100_000, 0, 5_000_000)), piece(every(100_000, 5_000_000, 8_000_000))]
    made = cut(tmp_path / "clip.mp4", pieces, 3_250_000, 6_650_000)
    assert made == Cut(START_US + 3_300_000, 3_350_000, 34)
    assert times(tmp_path / "clip.mp4") == pytest.approx(np.arange(34) / 10, abs=1e-4)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
        assert container.duration == pytest.approx(3_350_000, abs=1000)
    assert pictures[0] == pytest.approx(50, abs=2)
    assert pictures[-1] == pytest.approx(80, abs=2)


def test_players_show_it_as_long_as_the_stretch_is_and_from_its_first_frame_on(tmp_path: Path) -> None:
    program = needed("ffprobe")
    cut(tmp_path / "clip.mp4", [piece(every(100_000, 0, 5_000_000))], 3_300_000, 4_800_000)
    command = [program, "-v", "error", "-of", "json", "-show_format", "-show_streams", "-count_frames"]
    told = json.loads(
        subprocess.run([*command, tmp_path / "clip.mp4"], check=True, capture_output=True, env=environment()).stdout
    )
    assert float(told["format"]["start_time"]) == 0.0
    assert float(told["format"]["duration"]) == pytest.approx(1.5, abs=1e-3)
    assert int(told["streams"][0]["nb_read_frames"]) == 15


def test_the_table_of_frames_comes_first_so_that_a_player_can_begin_early(tmp_path: Path) -> None:
    cut(tmp_path / "clip.mp4", [piece(every(100_000, 0, 1_000_000))], 0, 1_000_000)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_hole_between_pieces_is_as_long_as_it_was(tmp_path: Path) -> None:
    made = cut(tmp_path / "clip.mp4", [piece([0, 500_000]), piece([90_000_000, 90_500_000])], 0, 90_400_000)
    assert times(tmp_path / "clip.mp4") == pytest.approx([0, 0.5, 90.0], abs=1e-4)
    assert made.duration_us == 90_400_000


def test_a_stretch_without_a_frame_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no frame"):
        cut(tmp_path / "clip.mp4", [piece([0, 500_000])], 100_000, 400_000)
    with pytest.raises(NotFoundError, match="no frame"):
        cut(tmp_path / "clip.mp4", [], 0, 1)


@pytest.mark.parametrize("harm", [b"", b"no video at all", bytes(2000)])
def test_a_piece_that_is_no_video_is_an_error_by_name(tmp_path: Path, harm: bytes) -> None:
    with pytest.raises(StorageError, match=r"clip\.mp4"):
        cut(tmp_path / "clip.mp4", [piece([0]), harm], 0, 1_000_000)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"clip\.mp4"):
        cut(tmp_path / "clip.mp4", [piece(every(100_000, 0, 5_000_000))], 0, 5_000_000)


@given(
    st.lists(st.lists(st.integers(0, 2_000_000), min_size=1, max_size=8), min_size=1, max_size=3),
    st.integers(0, 8_000_000),
    st.integers(1, 8_000_000),
)
@example(gaps=[[0, 0]], first=120, length=100)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_pieces_and_the_stretch_exactly_its_frames_are_shown_at_their_times(
    tmp_path: Path, gaps: list[list[int]], first: int, length: int
) -> None:
    pieces, captured, now = [], [], 0
    for part in gaps:
        # Frames a tick apart or more: what is nearer is moved.
        own = [now := now + gap + 100 for gap in part]
        captured += own
        pieces.append(piece(own))
    wanted = [time for time in captured if first <= time < first + length]
    # At the edges the rounding of ticks decides.
    if any(abs(time - edge) < 20 for time in captured for edge in (first, first + length)):
        return
    target = tmp_path / "clip.mp4"
    if not wanted:
        with pytest.raises(NotFoundError):
            cut(target, pieces, first, first + length)
        return
    made = cut(target, pieces, first, first + length)
    assert made.frames == len(wanted)
    assert made.start_us == pytest.approx(START_US + wanted[0], abs=12)
    assert made.duration_us <= max(first + length, wanted[-1] + 1000) - wanted[0] + 12
    assert times(target) == pytest.approx([(time - wanted[0]) / 1e6 for time in wanted], abs=1e-4)
    assert BytesIO(target.read_bytes()).read(8)[4:] == b"ftyp"
