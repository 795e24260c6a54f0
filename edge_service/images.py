"""JPEG and PNG files to pixels. The bytes come from strangers: nothing is decoded before its size is known."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.codec.media import to_rgb
from shared.codec.record import check_size
from shared.errors import ImageError, RecordError

# Pillow's own bound is looser than ours and partly a mere warning; check_size takes its place.
Image.MAX_IMAGE_PIXELS = None


def read_image(data: bytes) -> NDArray[np.uint8]:
    """The picture in a whole JPEG or PNG file, as uint8[H, W, 3] RGB. Transparency is left out.

    Raises:
        ImageError: the bytes are no such file, are cut off or damaged, or the picture is too large.
    """
    try:
        image = Image.open(BytesIO(data), formats=("JPEG", "PNG"))
    except Exception:
        # Pillow raises whatever its parsers run into; for hostile bytes no list of types is complete.
        raise ImageError(f"these {len(data)} bytes are no JPEG or PNG file, or one cut off at its start") from None
    check_image_size(*image.size)
    try:
        return to_rgb(image)
    except Exception as error:
        raise ImageError(f"the {image.format} file is cut off or damaged: {error}") from None


def raw_image(width: int, height: int, rgb: bytes) -> NDArray[np.uint8]:
    """Uncompressed pixels as uint8[H, W, 3].

    Raises:
        ImageError: the size is out of bounds, or the bytes are not exactly 3 * width * height.
    """
    check_image_size(width, height)
    if len(rgb) != 3 * width * height:
        raise ImageError(
            f"a raw RGB picture of {width}x{height} has {3 * width * height} bytes, here are {len(rgb)};"
            " rows follow each other without padding"
        )
    return np.frombuffer(rgb, np.uint8).reshape(height, width, 3)


def check_image_size(width: int, height: int) -> None:
    """Raises ImageError: no picture of this size can be coded."""
    try:
        check_size(width, height)
    except RecordError as error:
        raise ImageError(str(error)) from None


def scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The picture with its sides this many times as long, 0 < scale <= 1, uint8[H, W, 3]; at 1 the very same."""
    if scale == 1:
        return image
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), np.uint8)
