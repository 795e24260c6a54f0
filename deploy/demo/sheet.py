"""A contact sheet: some archived frames, with what the detector found drawn in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from icm.v1 import frame_pb2

_COLUMNS = 3
_TILE_WIDTH = 480
_CAPTION = 22
_GAP = 4
_COLOURS = ("#ff5d5d", "#5dc8ff", "#ffd75d", "#7dff8a", "#d78aff", "#ff9e4a")


@dataclass(frozen=True)
class Tile:
    """One frame of the sheet.

    Attributes:
        image: a PNG or JPEG file.
        caption: a line below it.
    """

    image: bytes
    detections: Sequence[frame_pb2.Detection]
    caption: str


def draw(tiles: Sequence[Tile], target: Path) -> None:
    """Writes the sheet as a PNG, three tiles a row."""
    pictures = [_tile(tile) for tile in tiles]
    width, height = pictures[0].size
    rows = -(-len(pictures) // _COLUMNS)
    columns = min(_COLUMNS, len(pictures))
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP), "white")
    for index, picture in enumerate(pictures):
        sheet.paste(picture, ((index % _COLUMNS) * (width + _GAP), (index // _COLUMNS) * (height + _GAP)))
    sheet.save(target, optimize=True)


def _tile(tile: Tile) -> Image.Image:
    picture = Image.open(io.BytesIO(tile.image)).convert("RGB")
    scale = _TILE_WIDTH / picture.width
    height = round(picture.height * scale)
    canvas = Image.new("RGB", (_TILE_WIDTH, height + _CAPTION), "#202020")
    canvas.paste(picture.resize((_TILE_WIDTH, height), Image.Resampling.LANCZOS))
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(11)
    for detection in tile.detections:
        colour = _COLOURS[sum(detection.class_name.encode()) % len(_COLOURS)]
        left, top = detection.left * scale, detection.top * scale
        pen.rectangle((left, top, detection.right * scale, min(detection.bottom * scale, height - 1)), outline=colour)
        label = f"{detection.class_name} {detection.score:.2f}"
        box = pen.textbbox((left + 1, max(top - 13, 0)), label, font=font)
        pen.rectangle(box, fill=colour)
        pen.text((left + 1, max(top - 13, 0)), label, fill="black", font=font)
    pen.text((6, height + 4), tile.caption, fill="white", font=ImageFont.load_default(13))
    return canvas
