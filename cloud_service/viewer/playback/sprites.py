"""Sprites: the thumbnails of an hour of a camera in one picture, which is shown while somebody drags along time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError
from sqlalchemy import Connection, Engine, Select, literal_column, select

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.tables import VideoSegmentRow
from cloud_service.store.segment import LONGEST_US
from cloud_service.viewer.playback.answers import read_database
from cloud_service.viewer.playback.stored.windows import HOUR_US

COLUMNS, ROWS = 24, 15
"""Tiles of a sprite: one for each 10 seconds, row after row."""
TILE = (160, 90)
"""Width and height of a tile, in pixels."""
_TILE_US = HOUR_US // (COLUMNS * ROWS)
_MOST_BYTES = 32 << 20
_AT_ONCE = 2
_QUALITY = 60
_EMPTY = (16, 18, 22)
_MOST_PIXELS = 1 << 22
"""Of a thumbnail, which has some ten thousand: what has more is none."""


class Sprites:
    """Makes sprites when they are first asked for, and keeps the last ones. For one event loop."""

    def __init__(self, database: Engine, storage: ArchiveStorage) -> None:
        """Makes nothing yet."""
        self._database, self._storage = database, storage
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._making: dict[tuple[str, int], asyncio.Task[bytes]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def sprite(self, camera: str, hour: int, done: bool) -> bytes:
        """The sprite of an hour, a JPEG file. Who asks while it is made waits for the same one.

        Args:
            camera: its name.
            hour: hours since 1970.
            done: whether nothing is added to that hour any more, so that the sprite may be kept.
        """
        key = camera, hour
        if (sprite := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return sprite
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(camera, hour))
            task.add_done_callback(lambda made: self._made(key, made, done))
        # Who goes away does not take it from the others.
        return await asyncio.shield(task)

    async def _make(self, camera: str, hour: int) -> bytes:
        async with self._turns:
            start_us = hour * HOUR_US
            rows = await read_database(self._database, lambda of: read_thumbnails(of, camera, start_us))
            return await asyncio.to_thread(self._draw, rows, start_us)

    def _made(self, key: tuple[str, int], task: asyncio.Task[bytes], done: bool) -> None:
        self._making.pop(key, None)
        if task.cancelled() or task.exception() is not None or not done:
            return
        self._kept[key] = task.result()
        self._bytes += len(task.result())
        while self._bytes > _MOST_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)

    def _draw(self, rows: Sequence[Any], start_us: int) -> bytes:
        sheet = Image.new("RGB", (COLUMNS * TILE[0], ROWS * TILE[1]), _EMPTY)
        drawn: set[int] = set()
        for row in rows:
            first = max(0, (row.start_us - start_us) // _TILE_US)
            last = min(COLUMNS * ROWS - 1, (row.start_us + row.duration_us - 1 - start_us) // _TILE_US)
            places = [place for place in range(first, last + 1) if place not in drawn]
            if not places or (tile := self._tile(row.thumbnail_path)) is None:
                continue
            drawn.update(places)
            for place in places:
                down, across = divmod(place, COLUMNS)
                left = across * TILE[0] + (TILE[0] - tile.width) // 2
                sheet.paste(tile, (left, down * TILE[1] + (TILE[1] - tile.height) // 2))
        buffer = BytesIO()
        sheet.save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()

    def _tile(self, path: str) -> Image.Image | None:
        """A thumbnail in the size of a tile; None if it was deleted meanwhile, or is damaged."""
        content = self._storage.get(path)
        if content is None:
            return None
        try:
            with Image.open(BytesIO(content), formats=["JPEG"]) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    return None
                tile = picture.convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError):
            return None
        tile.thumbnail(TILE)
        return tile


def thumbnails_statement(camera: str, start_us: int) -> Select[Any]:
    """Thumbnails of an hour, by time."""
    of = VideoSegmentRow.__table__.c
    return (
        select(of.start_us, of.duration_us, of.thumbnail_path)
        .where(
            of.camera == camera,
            of.thumbnail_path != literal_column("''"),  # as it stands in the index of what is there
            of.start_us >= start_us - LONGEST_US,
            of.start_us < start_us + HOUR_US,
        )
        .order_by(of.start_us)
    )


def read_thumbnails(connection: Connection, camera: str, start_us: int) -> list[Any]:
    """Rows of the thumbnails that an hour's sprite is made of: one a tile, and those of the segment before."""
    found: dict[int, Any] = {}
    for row in connection.execute(thumbnails_statement(camera, start_us)):
        found.setdefault(row.start_us // _TILE_US, row)
    return list(found.values())
