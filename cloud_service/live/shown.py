"""A frame that is shown, and its picture as JPEG in the sizes that are asked for: each made once, for all watchers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud_service.detection.base import Detection
from icm.frame_id import FrameId

WIDTHS = (160, 240, 320, 480, 640, 960, 1280, 1920, 2560, 3840)
"""That a picture is scaled down to. Few, so that watchers share them."""
MOST_BYTES = 3 << 20
"""Of a picture, below the 4 MiB that a client takes by default."""
_QUALITIES = (80, 65, 50, 35, 20)
"""The first with which a picture is small enough is taken."""
_REDUCING_GAP = 2.0
"""Pillow first averages whole pixels down to twice the size, which looks the same and is several times quicker."""


class Shown:
    """One frame. Pictures are asked for on one event loop.

    Attributes:
        key: which one.
        capture_us: when it was captured, microseconds since 1970.
        stored_us: when its record was stored, likewise; None if that is not known.
        width: columns of the coded frame.
        height: rows of the coded frame.
        model: the detector's name.
        detections: what is in it; None if nobody looked.
        reused_from: sequence of the frame whose detections these are; None if it is this one.
    """

    def __init__(
        self,
        key: FrameId,
        capture_us: int,
        picture: NDArray[np.uint8],
        *,
        stored_us: int | None,
        model: str,
        detections: Sequence[Detection] | None,
        reused_from: int | None,
    ) -> None:
        """Takes a frame; its picture, uint8[H, W, 3] RGB, is not to be written any more."""
        self.key, self.capture_us, self.stored_us = key, capture_us, stored_us
        self.height, self.width = picture.shape[:2]
        self.model, self.detections, self.reused_from = model, detections, reused_from
        self._picture = picture
        self._jpegs: dict[int, asyncio.Future[bytes]] = {}

    def is_newer(self, than: Shown | None) -> bool:
        """Whether this is to be shown after that one: it is a later frame, or the same with what was found in it. A new
        epoch is a new numbering.
        """
        if than is None or self.key.epoch != than.key.epoch:
            return True
        if self.key.sequence == than.key.sequence:
            return than.detections is None and self.detections is not None
        return self.key.sequence > than.key.sequence

    def take_over(self, before: Shown) -> None:
        """Takes over what was made of the frame before, if that has the very same picture: nothing changed."""
        if self._picture is before._picture:
            self._jpegs = before._jpegs

    async def jpeg(self, width: int, making: Executor) -> bytes:
        """The picture as a JPEG file.

        Args:
            width: its columns, one of ``WIDTHS``, unless the frame has fewer.
            making: where it is made.
        """
        width = min(width, self.width)
        if width not in self._jpegs:
            loop = asyncio.get_running_loop()
            self._jpegs[width] = loop.run_in_executor(making, jpeg_of, self._picture, width)
        # One who goes away while it is made takes it from nobody else.
        return await asyncio.shield(self._jpegs[width])


def fitting_width(most: int) -> int:
    """The width that is used for one who takes pictures of up to so many columns; 0 stands for no limit."""
    return max(width for width in WIDTHS if width <= most) if most else WIDTHS[-1]


def jpeg_of(picture: NDArray[np.uint8], width: int) -> bytes:
    """A picture, uint8[H, W, 3] RGB, as a JPEG file of this many columns, its shape kept."""
    image = Image.fromarray(picture)
    if width < image.width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)
    for quality in _QUALITIES:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()
