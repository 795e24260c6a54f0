"""Draws what was detected into pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from cloud_service.detection.base import Detection

_COLOURS = ("#ffd400", "#00d5ff", "#ff5fa2", "#7dff5f", "#ff8a3c", "#b69cff")


def with_boxes(picture: NDArray[np.uint8], detections: Sequence[Detection]) -> NDArray[np.uint8]:
    """A picture, uint8[H, W, 3] RGB, with a box around each object, its class and its score; what is less likely lies
    below.
    """
    if not detections:
        return picture
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width = max(1, round(max(image.size) / 400))
    font = _font(max(10, round(max(image.size) / 55)))
    for found in sorted(detections, key=lambda found: found.score):
        # A class has the same colour in every clip.
        colour = ImageColor.getrgb(_COLOURS[crc32(found.class_name.encode()) % len(_COLOURS)])
        # An edge of the picture is in it.
        left, right = sorted(min(max(x, 0), image.width - 1) for x in (found.left, found.right))
        top, bottom = sorted(min(max(y, 0), image.height - 1) for y in (found.top, found.bottom))
        draw.rectangle((left, top, right, bottom), outline=colour, width=width)
        label = f"{found.class_name} {found.score:.2f}"
        at = (left, max(0.0, top - 1.3 * font.size))
        draw.rectangle(draw.textbbox(at, label, font), fill=colour)
        draw.text(at, label, (0, 0, 0), font)
    return np.array(image)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
