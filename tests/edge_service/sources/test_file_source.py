from __future__ import annotations

import itertools
import threading
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_service.camera.queue import FrameQueue
from edge_service.camera.reader import FrameRateLimit, Reader
from edge_service.sources.file import FileSource
from icm.errors import ConfigError, SourceError
from icm.service.clock import ManualClock, SystemClock
from tests.edge_service.parts import write_turned_clip
from tests.icm.media.videos import joined, updated, write


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


def test_no_frame_comes_after_a_stop_while_one_is_waited_for(tmp_path: Path) -> None:
    stop, clock = threading.Event(), SystemClock()
    frames = FileSource(write(tmp_path / "v.mp4", fps=Fraction(1, 60)), True, False, clock).frames(stop)
    first = next(frames)
    threading.Timer(0.2, stop.set).start()
    assert list(frames) == []
    assert first.capture_us <= clock.now_us()


def capture_times(path: Path) -> list[float]:
    """Seconds from the first frame, the clip being played in real time."""
    frames = list(FileSource(path, True, False, PacedClock()).frames(threading.Event()))
    return [(frame.capture_us - frames[0].capture_us) / 1e6 for frame in frames]


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(1, 60), Fraction(1, 3600)])
def test_clips_of_any_pace_keep_their_times(tmp_path: Path, fps: Fraction) -> None:
    times = capture_times(write(tmp_path / "v.mp4", fps=fps))
    assert times == pytest.approx([float(number / fps) for number in range(20)], abs=0.001)


@pytest.mark.parametrize(
    ("seconds", "waited"), [(-2.0, 0.1), (0.0, 0.1), (5.0, 5.1), (50.0, 50.1), (120.0, 0.1), (86_400.0 * 400, 0.1)]
)
def test_a_frame_is_waited_for_a_minute_at_most_and_a_jump_that_is_left_out_is_logged(
    tmp_path: Path, seconds: float, waited: float, caplog: pytest.LogCaptureFixture
) -> None:
    video = joined(tmp_path / "v.mkv", write(tmp_path / "a.mkv"), write(tmp_path / "b.mkv", stamp=updated(2 + seconds)))
    times = capture_times(video)
    assert times[19] == pytest.approx(1.9, abs=0.001)
    assert times[20] - times[19] == pytest.approx(waited, abs=0.001)
    assert all(a < b for a, b in pairwise(times))
    assert (f"{video}: its time stamps jump" in caplog.text) == (waited != seconds + 0.1)


@pytest.mark.parametrize("ending", ["mkv", "avi", "mp4"])
def test_a_bad_packet_costs_its_frame_and_is_counted_and_logged(
    tmp_path: Path, ending: str, metrics, problems, sample, caplog: pytest.LogCaptureFixture
) -> None:
    video = write(tmp_path / f"v.{ending}", "mjpeg", bad=(5, 6, 12))
    queue = FrameQueue(100, False, lambda frame: None)
    source = FileSource(video, True, False, PacedClock())
    reader = Reader("gate", source, queue, FrameRateLimit(None), metrics, problems, threading.Event())
    reader.run()
    times = [frame.capture_us for frame in iter(queue.get, None)]
    assert len(times) == 17
    assert sample("icm_edge_dropped_total", camera="gate", reason="damaged") == 3
    assert "17 frames came; 3 damaged packets left out" in caplog.text
    assert not reader.failed


def test_a_damaged_frame_that_says_it_is_of_any_size_costs_itself_only(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    frames = []
    for width in (64, 17_000, 64, 64):
        with BytesIO() as file:
            Image.new("L", (width, 8)).save(file, "JPEG")
            frames.append(file.getvalue())
    (tmp_path / "v.mjpeg").write_bytes(b"".join(frames))
    source = FileSource(tmp_path / "v.mjpeg", False, False, clock)
    assert [frame.image.shape for frame in source.frames(threading.Event())] == 3 * [(8, 64, 3)]
    assert source.damaged == 1
    assert "17000x8" in caplog.text


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
