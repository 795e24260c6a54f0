"""Pictures that clients hand over. The bytes come from strangers: nothing is decoded before its size is known."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icm.codec.bitstream.record import MAX_PIXELS
from icm.errors import ImageError
from icm.media.pictures import PictureFile, check_picture_size


def read_image(data: bytes, most_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in a whole JPEG or PNG file, as people see it (``icm.media.orientation``), uint8[H, W, 3] RGB.

    Raises:
        ImageError: the bytes are no such file, are cut off or damaged, take too much work, or the picture is too large;
            or there are several.
    """
    file = PictureFile(BytesIO(data), f"the file of {len(data)} bytes", ("JPEG", "PNG"), most_pixels)
    if file.count > 1:
        raise ImageError(f"the file holds {file.count} pictures, and a frame is one: hand them over one by one")
    ((_, picture),) = file
    if (shortfall := file.shortfall()) is not None:
        raise ImageError(f"the file of {len(data)} bytes is damaged: {shortfall}")
    return picture


def raw_image(width: int, height: int, rgb: bytes, most_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Uncompressed pixels as uint8[H, W, 3].

    Raises:
        ImageError: the size is out of bounds, or the bytes are not exactly 3 * width * height.
    """
    check_picture_size(width, height, most_pixels)
    if len(rgb) != 3 * width * height:
        raise ImageError(
            f"a raw RGB picture of {width}x{height} has {3 * width * height} bytes, here are {len(rgb)};"
            " rows follow each other without padding"
        )
    return np.frombuffer(rgb, np.uint8).reshape(height, width, 3)


def scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The picture with its sides this many times as long, 0 < scale <= 1, uint8[H, W, 3]; at 1 the very same."""
    if scale == 1:
        return image
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), np.uint8)
