"""What every video codec of the comparison does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""uint8[H, W, 3] RGB."""


@dataclass(frozen=True)
class CodedClip:
    """A clip after coding and decoding.

    Attributes:
        frame_bytes: of each frame, in the order they were coded.
        wire_bytes: the same on a link (``wire``).
        pictures: as decoded, one a frame.
        encode_seconds: for the whole clip.
        decode_seconds: for the whole clip.
    """

    frame_bytes: list[int]
    wire_bytes: list[int]
    pictures: list[Picture]
    encode_seconds: float
    decode_seconds: float


class VideoCodec(Protocol):
    """A codec with its settings.

    Attributes:
        name: as tables and plots show it.
        points: its quality settings as it writes them, from few bits to many.
    """

    name: str
    points: tuple[str, ...]

    def code(self, clip: Sequence[Picture], fps: int, point: str) -> CodedClip: ...
