"""The clip as a camera sees it: fewer frames a second, or fewer frames, but not one pixel changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame
from tqdm import tqdm

from icm.errors import SourceError


@dataclass(frozen=True)
class Clip:
    """A video file and what is in it.

    Attributes:
        title: name of the video that its frames are from.
        fps: frames per second.
        width: in pixels.
        height: in pixels.
        pixel_format: as FFmpeg names it, such as "yuv420p".
    """

    path: Path
    title: str
    frames: int
    fps: Fraction
    width: int
    height: int
    pixel_format: str

    @property
    def seconds(self) -> float:
        """How long it takes in real time."""
        return float(self.frames / self.fps)

    def pictures(self) -> Iterator[VideoFrame]:
        """Its frames, in order."""
        with av.open(str(self.path)) as container:
            yield from container.decode(video=0)


def measure(path: Path) -> Clip:
    """Looks at a video file; counts its frames by decoding, because containers may lie.

    Raises:
        SourceError: it cannot be read, or holds no video.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps, pixel_format = stream.average_rate, stream.pix_fmt
            frames = sum(1 for _ in container.decode(stream))
    except (av.FFmpegError, IndexError) as error:
        raise SourceError(f"cannot play {path}: {error}; choose another clip") from None
    if not frames or not fps or pixel_format is None:
        raise SourceError(f"{path} holds no frames, or does not say how many a second; choose another clip")
    return Clip(path, path.name, frames, fps, stream.width, stream.height, pixel_format)


def cut(clip: Clip, target: Path, frames: int | None, fps: float | None) -> Clip:
    """At most ``frames`` frames, evenly picked so that ``fps`` a second are left; None leaves either as it is.

    The picked frames are written losslessly (FFV1) to ``target``, in their own pixel format. Where nothing is to be
    cut, the clip itself is returned.
    """
    rate = min(Fraction(fps).limit_denominator(1000), clip.fps) if fps is not None else clip.fps
    share = rate / clip.fps
    # Of every run of frames that is 1 / share long, the first.
    picked = [index for index in range(clip.frames) if index == 0 or int(index * share) > int((index - 1) * share)]
    picked = picked[:frames]
    if len(picked) == clip.frames:
        return clip
    with av.open(str(target), "w") as container:
        output = container.add_stream("ffv1", rate=rate, options={"level": "3", "slices": "4"})
        output.width, output.height, output.pix_fmt = clip.width, clip.height, clip.pixel_format
        bar = tqdm(_pick(clip, picked), "cutting the clip", len(picked), unit="frame", leave=False, disable=None)
        for index, picture in enumerate(bar):
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(output.encode(picture))
        container.mux(output.encode(None))
    return replace(clip, path=target, frames=len(picked), fps=rate)


def _pick(clip: Clip, indexes: list[int]) -> Iterator[VideoFrame]:
    wanted = set(indexes)
    for index, picture in enumerate(clip.pictures()):
        if index in wanted:
            yield picture
        if index >= indexes[-1]:
            return
