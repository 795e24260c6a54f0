from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from edge_service.camera import reader
from edge_service.camera.queue import FrameQueue
from edge_service.camera.reader import FrameRateLimit, Reader
from edge_service.sources import Frame
from icm.errors import SourceError


class ScriptedSource:
    """Gives so many frames on each attempt, then fails or, where a number is negative, ends."""

    def __init__(self, live: bool, attempts: list[int]) -> None:
        self.live, self._attempts, self._made = live, attempts, 0
        self.damaged = 0

    def check(self) -> None: ...

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        count = self._attempts.pop(0)
        for _ in range(abs(count)):
            self._made += 1
            yield Frame(np.zeros((1, 1, 3), np.uint8), self._made * 100_000)
        if count < 0:
            return
        if not self._attempts:
            stop.set()
        raise SourceError("the cable is out")


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FIRST_RETRY_SECONDS", 0.001)


def read(source: ScriptedSource, metrics, problems, max_fps: float | None = None) -> tuple[Reader, list[int]]:
    queue = FrameQueue(100, source.live, lambda frame: None)
    reader = Reader("gate", source, queue, FrameRateLimit(max_fps), metrics, problems, threading.Event())
    reader.run()
    frames = []
    while (frame := queue.get()) is not None:
        frames.append(frame.capture_us // 100_000)
    return reader, frames


@pytest.mark.usefixtures("quick_retries")
def test_a_live_source_that_fails_is_tried_again(metrics, problems) -> None:
    reader, frames = read(ScriptedSource(True, [2, 3, 0, 0]), metrics, problems)
    assert frames == [1, 2, 3, 4, 5]
    assert not reader.failed
    assert problems.lines() == ["camera gate: the cable is out; trying again"]


def test_a_live_source_that_ends_with_the_edge_is_no_problem(
    metrics, problems, caplog: pytest.LogCaptureFixture
) -> None:
    reader, frames = read(ScriptedSource(True, [3]), metrics, problems)
    assert frames == [1, 2, 3]
    assert not reader.failed
    assert problems.lines() == []
    assert not caplog.records


def test_a_picture_of_more_than_max_pixels_is_dropped_and_said(metrics, problems, sample) -> None:
    queue, sizes = FrameQueue(100, False, lambda frame: None), [(4, 4), (5, 4), (4, 4)]

    class Sizes(ScriptedSource):
        def frames(self, stop: threading.Event) -> Iterator[Frame]:
            yield from (Frame(np.zeros((*size, 3), np.uint8), 0) for size in sizes)

    Reader("gate", Sizes(False, []), queue, FrameRateLimit(None), metrics, problems, threading.Event(), 16).run()
    got = []
    while (frame := queue.get()) is not None:
        got.append(frame.image.shape[:2])
    assert got == [(4, 4), (4, 4)]
    assert sample("icm_edge_dropped_total", camera="gate", reason="image") == 1


@pytest.mark.usefixtures("quick_retries")
def test_a_camera_that_comes_back_is_no_problem_any_more(metrics, problems) -> None:
    _, frames = read(ScriptedSource(True, [0, -1]), metrics, problems)
    assert frames == [1]
    assert problems.lines() == []


def test_a_file_that_fails_is_not_tried_again(metrics, problems) -> None:
    reader, frames = read(ScriptedSource(False, [2, 5]), metrics, problems)
    assert frames == [1, 2]
    assert reader.failed
    assert problems.lines() == ["camera gate: the cable is out"]


def test_frames_above_the_rate_limit_are_left_out_and_counted(metrics, problems, sample) -> None:
    _, frames = read(ScriptedSource(False, [-10]), metrics, problems, max_fps=5)
    assert frames == [1, 3, 5, 7, 9]
    assert sample("icm_edge_frames_total", camera="gate", outcome="rate_limited") == 5


def kept(times_ms: list[float], max_fps: float) -> list[float]:
    thinning = FrameRateLimit(max_fps)
    return [t for t in times_ms if thinning.keeps(Frame(np.zeros((1, 1, 3), np.uint8), round(t * 1000)))]


def test_thinning_keeps_the_rate_when_frames_jitter() -> None:
    rng = np.random.default_rng(0)
    times = [i * 1000 / 30 + float(jitter) for i, jitter in enumerate(rng.uniform(-8, 8, 900))]
    assert 290 <= len(kept(times, 10)) <= 301


def test_thinning_survives_a_clock_that_is_set_back() -> None:
    assert kept([0, 50, 100, -100_000, -99_950, -99_900], 10) == [0, 100, -100_000, -99_900]


def test_a_pause_is_not_made_up_for() -> None:
    assert kept([0, 10_000, 10_010, 10_020, 10_100], 10) == [0, 10_000, 10_100]
