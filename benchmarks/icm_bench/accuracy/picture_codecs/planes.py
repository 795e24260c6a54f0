"""Pictures as the video codecs take them: 8-bit YUV of BT.709 in full range, chroma at half resolution, even sides."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from icm.errors import ImageError
from icm_bench.accuracy.picture_codecs.base import Picture

_EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)


def to_yuv(image: Picture) -> av.VideoFrame:
    """RGB to yuv420p; an odd side is lengthened by repeating its last pixel."""
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.JPEG, interpolation=_EXACT
    )


def decode_stream(coded: bytes, container: str, width: int, height: int) -> Picture:
    """The one picture of an elementary stream made from ``to_yuv``.

    Args:
        container: FFmpeg's name for the stream, "hevc" or "vvc".

    Raises:
        ImageError: the stream holds no picture.
    """
    file: Any = io.BytesIO(coded)
    with av.open(file, format=container) as stream:
        for frame in stream.decode(video=0):
            rgb = frame.reformat(
                format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.JPEG, interpolation=_EXACT
            )
            return np.asarray(rgb.to_ndarray()[:height, :width], np.uint8)
    raise ImageError(f"{len(coded)} bytes of {container} hold no picture")
