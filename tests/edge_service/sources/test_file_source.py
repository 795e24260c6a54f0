from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_service.sources.file import FileSource
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError, SourceError
from tests.edge_service.parts import write_turned_clip


def test_gives_every_frame_in_order_as_fast_as_asked(clip: Path, clock: ManualClock) -> None:
    frames = list(FileSource(clip, False, False, clock).frames(threading.Event()))
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 10
    assert all(frame.image.dtype == np.uint8 for frame in frames)
    brightness = [float(frame.image.mean()) for frame in frames]
    assert brightness == sorted(brightness)
    assert {frame.capture_us for frame in frames} == {clock.now_us()}


class PacedClock(ManualClock):
    """Its spans pass by themselves, so that waiting for one that is over takes no time."""

    def monotonic(self) -> float:
        self.advance(3600)
        return super().monotonic()


def test_in_real_time_capture_times_follow_the_clips_own_time_line(clip: Path) -> None:
    frames = list(FileSource(clip, True, False, PacedClock()).frames(threading.Event()))
    assert [frame.capture_us - frames[0].capture_us for frame in frames] == [100_000 * i for i in range(10)]


def test_in_real_time_frames_wait_until_they_are_due(clip: Path) -> None:
    clock = SystemClock()
    started_us = clock.now_us()
    for index, _ in enumerate(FileSource(clip, True, False, clock).frames(threading.Event())):
        assert clock.now_us() - started_us >= index * 100_000 - 5_000
        if index == 3:
            break


def test_a_loop_goes_on_where_the_last_lap_ended(clip: Path) -> None:
    frames = itertools.islice(FileSource(clip, True, True, PacedClock()).frames(threading.Event()), 25)
    times = [frame.capture_us for frame in frames]
    assert [time - times[0] for time in times] == [100_000 * i for i in range(25)]


def test_ends_when_stopped_even_while_it_waits(clip: Path) -> None:
    stop = threading.Event()
    frames = FileSource(clip, True, True, SystemClock()).frames(stop)
    next(frames)
    stop.set()
    assert list(frames) == []


@pytest.mark.parametrize("loop", [False, True])
def test_a_clip_cut_off_before_its_first_frame_is_an_error_and_not_an_endless_loop(
    small_clip: Path, tmp_path: Path, clock: ManualClock, loop: bool
) -> None:
    content = small_clip.read_bytes()
    cut_off = tmp_path / small_clip.name
    cut_off.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75") + 40])  # Matroska's first cluster
    source = FileSource(cut_off, False, loop, clock)
    source.check()
    with pytest.raises(SourceError, match="holds no frames"):
        next(iter(source.frames(threading.Event())))


def test_a_missing_clip_is_named(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match=f"no video file at {tmp_path}/none.mp4"):
        FileSource(tmp_path / "none.mp4", True, False, clock).check()


def test_a_file_that_is_no_video_is_named(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("no video at all")
    with pytest.raises(SourceError, match=f"cannot read the video file {path}"):
        FileSource(path, True, False, clock).check()


def test_a_damaged_file_gives_what_it_has_or_says_where_it_is_damaged(
    clip: Path, tmp_path: Path, clock: ManualClock
) -> None:
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 3000] = b"\xff" * len(data[start : start + 3000])
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f"{path}"):
        list(FileSource(path, False, False, clock).frames(threading.Event()))


@pytest.mark.parametrize("name", ["12:30:00.mp4", "clip.jpg", "clip"])
def test_a_video_is_read_upright_and_whatever_it_is_called(
    tmp_path: Path, clock: ManualClock, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_turned_clip(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), tmp_path / name):
        source = FileSource(path, False, False, clock)
        source.check()
        frames = [frame.image for frame in source.frames(threading.Event())]
        assert [image.shape for image in frames] == 3 * [(64, 48, 3)]
        # What was on the left is at the top now.
        assert all(image[:16].mean() > 200 > 60 > image[-16:].mean() for image in frames)
