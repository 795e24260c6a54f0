"""Small pictures of sightings: the part of the best frame around the object, made when somebody looks."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from io import BytesIO

from PIL import Image

from cloud_service.viewer.search.results import Found

WIDTH, HEIGHT = 320, 180
"""Pixels, twice what most pages show it in."""
_AROUND = 0.35
"""Of the box's larger side is shown beyond it."""
_LEAST = 0.2
"""Of the picture's width is shown at least, so that one sees where it is."""
_QUALITY = 80
_MOST_BYTES = 64 << 20
_AT_ONCE = 2


class Crops:
    """Makes them, each once however many ask; for use on one event loop."""

    def __init__(self, picture: Callable[[Found], Awaitable[bytes]]) -> None:
        """Makes none yet.

        Args:
            picture: returns a sighting's best frame as a file; raises IcmError where it cannot.
        """
        self._picture = picture
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._making: dict[int, asyncio.Task[bytes]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def of(self, found: Found) -> bytes:
        """A JPEG file of at most ``WIDTH`` by ``HEIGHT`` pixels.

        Raises:
            IcmError: the frame cannot be had.
        """
        if (kept := self._kept.get(found.id)) is not None:
            self._kept.move_to_end(found.id)
            return kept
        task = self._making.get(found.id)
        if task is None:
            task = self._making[found.id] = asyncio.create_task(self._make(found))
            task.add_done_callback(lambda _: self._making.pop(found.id, None))
        # One who goes away leaves it to those who wait as well.
        return await asyncio.shield(task)

    async def _make(self, found: Found) -> bytes:
        async with self._places:
            data = await asyncio.to_thread(_crop, await self._picture(found), found.box)
        self._kept[found.id] = data
        self._bytes += len(data)
        while self._bytes > _MOST_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


def _crop(file: bytes, box: tuple[float, float, float, float]) -> bytes:
    with Image.open(BytesIO(file)) as opened:
        picture = opened.convert("RGB")
    cut = picture.crop(_around(box, *picture.size))
    cut.thumbnail((WIDTH, HEIGHT))
    output = BytesIO()
    cut.save(output, "JPEG", quality=_QUALITY)
    return output.getvalue()


def _around(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a picture to show, in pixels: around the box, as wide to high as all of them, and inside."""
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    beyond = _AROUND * max(right - left, bottom - top)
    wide = max(right - left + 2 * beyond, (bottom - top + 2 * beyond) * WIDTH / HEIGHT, _LEAST * width)
    wide = min(wide, width, height * WIDTH / HEIGHT)
    high = wide * HEIGHT / WIDTH
    first_column = min(max((left + right - wide) / 2, 0), width - wide)
    first_row = min(max((top + bottom - high) / 2, 0), height - high)
    edges = (first_column, first_row, first_column + wide, first_row + high)
    cut = tuple(round(edge) for edge in edges)
    return cut[0], cut[1], max(cut[2], cut[0] + 1), max(cut[3], cut[1] + 1)
