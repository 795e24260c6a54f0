"""How far a video's frame is from the picture that its record gives.

H.264 at the archive's quality loses what an eye does not miss: little where a picture is plain, more where it is rich.
So the squared error of each block of a picture is held against how rich that block is: a person who stands elsewhere is
many times beyond what the archive's encoder ever was. What moves by little between two frames is told otherwise: a
block is not to look like the picture before, where its own picture differs from that. ``icm-bench evidence`` measures
how far honest videos stay from both bounds, and others go beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

LUMA_BLOCK = 32
"""Side of a block in pixels; half of it in the planes of colour."""
BASE_ERROR, ERROR_SHARE = 100.0, 0.5
"""A block's mean squared error may be the first, and as much of the block's variance as the second says."""
EARLIER_ERROR, EARLIER_SHARE = 80.0, 10.0
"""A block whose mean squared error is above the first may not be closer to the picture before by the second."""
_PEAK = 255.0

Planes = tuple[NDArray[np.uint8], ...]
"""Luma and two planes of colour, each of half its size, uint8."""


@dataclass(frozen=True)
class Distance:
    """How far a frame is from a picture.

    Attributes:
        psnr: of luma over the whole frame, in dB.
        share: the worst block's error, as a share of what it may be; above 1 it is another picture.
        earlier: the largest error of a block that looks like the picture before, as a share of what it may be.
    """

    psnr: float
    share: float
    earlier: float


def planes_of(frame: av.VideoFrame) -> Planes:
    """The planes of a video's frame, as BT.709 at limited range has them, which is what the archive writes."""
    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p")
    sizes = ((frame.height, frame.width), *(2 * [(-(-frame.height // 2), -(-frame.width // 2))]))
    return tuple(
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:height, :width]  # type: ignore[call-overload]
        for plane, (height, width) in zip(frame.planes, sizes, strict=True)
    )


def planes_of_picture(picture: NDArray[np.uint8]) -> Planes:
    """The same of a picture uint8[H, W, 3] RGB; sides become even as the archive's do."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(padded, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    return planes_of(frame)


def distance(shown: Planes, meant: Planes, before: Planes | None) -> Distance:
    """How far a frame is from a picture of the same size.

    Args:
        before: the picture before; None if there is none.
    """
    shares, earlier = [], 0.0
    for number, (of_shown, of_meant) in enumerate(zip(shown, meant, strict=True)):
        side = LUMA_BLOCK if number == 0 else LUMA_BLOCK // 2
        picture = of_meant.astype(np.float32)
        error = np.square(of_shown.astype(np.float32) - picture)
        errors, mean = _block_means(error, side), _block_means(picture, side)
        variance = _block_means(np.square(picture), side) - np.square(mean)
        shares.append(float((errors / (BASE_ERROR + ERROR_SHARE * variance.clip(0))).max()))
        if before is not None:
            others = _block_means(np.square(of_shown.astype(np.float32) - before[number]), side)
            earlier = max(earlier, float(errors[errors > EARLIER_SHARE * others].max(initial=0)))
        if number == 0:
            whole = float(error.mean())
    psnr = 10 * np.log10(_PEAK**2 / max(whole, 1e-3))
    return Distance(float(psnr), max(shares), earlier / EARLIER_ERROR)


def _block_means(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Means over blocks of a plane; those at the right and lower border may be smaller."""
    rows, columns = (np.arange(0, length, side) for length in plane.shape)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, 0, dtype=np.float64), columns, 1)
    heights, widths = (np.diff([*starts, length]) for starts, length in zip((rows, columns), plane.shape, strict=True))
    means: NDArray[np.float32] = (sums / np.outer(heights, widths)).astype(np.float32)
    return means
