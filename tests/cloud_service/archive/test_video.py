"""A video that the archive writes plays everywhere, at the pace of the capture."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_service.archive.video import DEFAULT_FRAME_SECONDS, VideoEncoder

START_US = 1_790_000_000_000_000


def picture(level: int, width: int = 48, height: int = 32) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), level, np.uint8)


def encode(offsets_us: list[int]) -> tuple[bytes, VideoEncoder]:
    video = VideoEncoder(48, 32)
    for index, offset in enumerate(offsets_us):
        video.add(picture(index * 20 % 256), START_US + offset)
    return video.finish().mp4, video


def shown(data: bytes) -> list[float | None]:
    """When each frame is shown, in seconds."""
    with av.open(BytesIO(data), "r") as container:
        return [frame.time for frame in container.decode(video=0)]


def test_frames_are_shown_when_they_were_captured_however_irregular_that_was() -> None:
    offsets = [0, 100_000, 150_000, 900_000, 2_000_000]
    data, video = encode(offsets)
    assert shown(data) == pytest.approx([offset / 1e6 for offset in offsets], abs=1e-4)
    assert video.frames == 5


def test_the_last_frame_is_shown_as_long_as_frames_are_on_average() -> None:
    data, video = encode([0, 500_000, 1_000_000])
    with av.open(BytesIO(data), "r") as container:
        assert container.duration == pytest.approx(1_500_000, abs=1000)
    assert video.duration_us == pytest.approx(1_500_000, abs=100)


def test_a_single_frame_is_a_video_too() -> None:
    data, video = encode([0])
    assert shown(data) == [0.0]
    assert video.duration_us == DEFAULT_FRAME_SECONDS * 1e6


@given(st.lists(st.integers(-1_000_000, 3_000_000), max_size=12))
@settings(max_examples=25, deadline=None)
def test_times_that_repeat_or_go_back_lose_no_frame(offsets: list[int]) -> None:
    data, _ = encode([0, *offsets])
    times = shown(data)
    assert len(times) == len(offsets) + 1
    assert all(a < b for a, b in pairwise(time for time in times if time is not None))


@pytest.mark.parametrize(("width", "height"), [(48, 32), (47, 31), (1, 1)])
def test_any_size_of_picture_can_be_rendered(width: int, height: int) -> None:
    video = VideoEncoder(width, height)
    video.add(picture(200, width, height), START_US)
    with av.open(BytesIO(video.finish().mp4), "r") as container:
        (frame,) = container.decode(video=0)
    assert (frame.width - width, frame.height - height) == (width % 2, height % 2)
    assert abs(int(frame.to_ndarray(format="rgb24")[0, 0, 0]) - 200) < 8


def test_red_stays_red() -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[:, :, 0] = 200
    video = VideoEncoder(48, 32)
    video.add(red, START_US)
    with av.open(BytesIO(video.finish().mp4), "r") as container:
        (frame,) = container.decode(video=0)
        assert container.streams.video[0].codec_context.name == "h264"
    assert np.abs(frame.to_ndarray(format="rgb24")[16, 24].astype(int) - (200, 0, 0)).max() < 10
