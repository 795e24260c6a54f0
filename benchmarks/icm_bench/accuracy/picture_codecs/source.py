"""No codec at all: the photo as it is."""

from __future__ import annotations

import numpy as np

from icm_bench.accuracy.picture_codecs.base import Picture


class Source:
    """Pictures uncompressed, 24 bits a pixel: the ceiling of the others."""

    name, setting, key, slow_to_encode = "source", "-", "source", False

    def encode(self, image: Picture) -> bytes:
        """See ``PictureCodec.encode``."""
        return image.tobytes()

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """See ``PictureCodec.decode``."""
        return np.frombuffer(coded, np.uint8).reshape(height, width, 3)
