"""Boxes as parts of the picture: a camera's pictures change their size as its rate is controlled, and what it looks at
does not.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cloud_service.detection.base import Detection

WHOLE = 65_535
"""An edge at the picture's right or bottom; 0 is its left or top."""
_PACKED = struct.Struct("<4H")


class PictureSize(NamedTuple):
    """Of a segment's pictures, in pixels."""

    width: int
    height: int


class RelativeBox(NamedTuple):
    """A box in 65535ths of the picture's width and height."""

    left: int
    top: int
    right: int
    bottom: int

    @staticmethod
    def unpack(data: bytes) -> RelativeBox:
        return RelativeBox(*_PACKED.unpack(data))

    def pack(self) -> bytes:
        """Eight bytes."""
        return _PACKED.pack(*self)

    def union(self, other: RelativeBox) -> RelativeBox:
        """The least box around both."""
        return RelativeBox(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def overlap(self, other: RelativeBox) -> float:
        """Area that both cover, as a share of what one or the other covers (IoU): 0 to 1."""
        left, top, right, bottom = self
        other_left, other_top, other_right, other_bottom = other
        # Written out: a busy camera asks this some thousand times a segment.
        width = (right if right < other_right else other_right) - (left if left > other_left else other_left)
        height = (bottom if bottom < other_bottom else other_bottom) - (top if top > other_top else other_top)
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
        return both / (areas - both)


def relative_boxes(found: Sequence[Detection], size: PictureSize) -> list[RelativeBox]:
    """The boxes of detections, cut to the picture."""
    edges = np.array([(box.left, box.top, box.right, box.bottom) for box in found], np.float64).reshape(-1, 4)
    scale = WHOLE / np.array([size.width, size.height] * 2)
    return [RelativeBox(*box) for box in np.rint(edges * scale).clip(0, WHOLE).astype(np.int64).tolist()]
