"""Cutting a clip: fewer frames, evenly picked, the same pixels; and what the others need for them."""

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deploy.demo import comparison
from deploy.demo.clip import Clip, cut, measure
from icm.errors import SourceError

FRAMES = 20


def picture(index: int) -> NDArray[np.uint8]:
    """A frame that tells its index by its brightness, with some texture."""
    ramp = np.linspace(0, 40, 64 * 48 * 3).reshape(48, 64, 3)
    return (ramp + 10 * index).astype(np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "source.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode(None))
    return measure(path)


def pixels(clip: Clip) -> list[NDArray[np.uint8]]:
    return [frame.to_ndarray() for frame in clip.pictures()]


def test_a_clip_is_measured_by_looking_at_it(clip: Clip) -> None:
    assert (clip.frames, clip.fps, clip.width, clip.height, clip.pixel_format) == (FRAMES, 10, 64, 48, "yuv420p")
    assert clip.seconds == 2.0


@pytest.mark.parametrize(
    ("frames", "fps", "expected"),
    [
        (None, 5.0, range(0, 20, 2)),
        (7, None, range(7)),
        (3, 2.0, range(0, 15, 5)),
        (None, 3.0, [0, 4, 7, 10, 14, 17]),
        (FRAMES - 1, 50.0, range(FRAMES - 1)),
    ],
)
def test_the_frames_left_are_evenly_spread_and_unchanged(
    clip: Clip, tmp_path: Path, frames: int | None, fps: float | None, expected: list[int]
) -> None:
    shorter = cut(clip, tmp_path / "cut.mkv", frames, fps)
    assert shorter == replace(measure(tmp_path / "cut.mkv"), title="source.mkv")
    assert shorter.fps == Fraction(min(fps or 10.0, 10.0))
    original = pixels(clip)
    np.testing.assert_array_equal(pixels(shorter), [original[index] for index in expected])


@pytest.mark.parametrize(("frames", "fps"), [(None, None), (1000, None), (None, 10.0), (FRAMES, 30.0)])
def test_a_clip_that_is_short_and_slow_enough_stays_the_file_it_is(
    clip: Clip, tmp_path: Path, frames: int | None, fps: float | None
) -> None:
    assert cut(clip, tmp_path / "cut.mkv", frames, fps) is clip
    assert not (tmp_path / "cut.mkv").exists()


def test_a_file_that_is_no_video_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"clip\.avi"):
        measure(tmp_path / "clip.avi")
    with pytest.raises(SourceError, match=r"nowhere\.avi"):
        measure(tmp_path / "nowhere.avi")


def test_the_comparison_counts_every_frame_in_both_codecs(clip: Clip, tmp_path: Path) -> None:
    sizes = comparison.encode(clip)
    expected = 0
    for frame in clip.pictures():
        file = io.BytesIO()
        Image.fromarray(frame.to_ndarray(format="rgb24")).save(file, "JPEG", quality=35)
        expected += len(file.getvalue())
    assert sizes.jpeg == expected
    half = comparison.encode(cut(clip, tmp_path / "half.mkv", FRAMES // 2, None))
    assert 0 < half.h264 < sizes.h264 < sizes.jpeg
