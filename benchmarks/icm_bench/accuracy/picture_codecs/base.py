"""What the benchmarks ask of a codec of single pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""uint8[H, W, 3], RGB."""


class PictureCodec(Protocol):
    """A codec at one of its settings."""

    @property
    def name(self) -> str:
        """Its curve in a plot, such as "AVIF"."""
        ...

    @property
    def setting(self) -> str:
        """The point on the curve, such as "40"."""
        ...

    @property
    def key(self) -> str:
        """A file name for what was measured with it: two codecs that may give different bits or pixels differ in it."""
        ...

    @property
    def slow_to_encode(self) -> bool:
        """Whether coded pictures are worth keeping for the next detector."""
        ...

    def encode(self, image: Picture) -> bytes:
        """All that must be sent; its length is what the picture costs."""
        ...

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """The picture of that size again."""
        ...
