"""JPEG, WebP and AVIF by Pillow. What counts is the whole file, as each of these formats is sent."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from icm_bench.accuracy.picture_codecs.base import Picture

_AS_SMALL_AS_CAN_BE: dict[str, dict[str, Any]] = {
    "JPEG": {"optimize": True, "progressive": True},
    "WEBP": {"method": 6},
    "AVIF": {"speed": 4},
}
QUALITIES: dict[str, tuple[int, ...]] = {
    "JPEG": (5, 10, 15, 20, 35, 50, 75),
    "WEBP": (0, 5, 20, 40, 60, 80),
    "AVIF": (5, 10, 20, 30, 40, 50, 60),
}
"""From the smallest files to where detection is as good as on the source."""


class FileCodec:
    """A picture format of Pillow's at one quality; chroma at half resolution, as is their default."""

    slow_to_encode = False

    def __init__(self, name: str, quality: int) -> None:
        self.name, self.setting = name, str(quality)
        self.key = f"{name}-{quality}"
        self.slow_to_encode = name == "AVIF"
        self._quality = quality

    def encode(self, image: Picture) -> bytes:
        """See ``PictureCodec.encode``."""
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, self.name, quality=self._quality, **_AS_SMALL_AS_CAN_BE[self.name])
        return buffer.getvalue()

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """See ``PictureCodec.decode``."""
        return np.asarray(Image.open(io.BytesIO(coded)).convert("RGB"))
