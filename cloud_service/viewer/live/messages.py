"""What a page and the viewer say to each other over the wall's WebSocket.

The page says, as JSON in text: ``{"watch": {camera: columns}}``, all that it shows now, and ``{"ack": number}``, the
highest number of what it has drawn. The viewer says, in binary: four bytes with the length of a JSON header, the
header, and a JPEG file, or nothing where the picture is still the one before. Its fields:

- ``number``: counts messages, from 1.
- ``camera``.
- ``state``: live, late, silent, empty, unknown, or unreachable where the cloud is not reached.
- ``age``: seconds since the capture of what is shown; null where nothing is.
- ``frame``: null where nothing is shown yet; else ``sequence``, ``epoch`` (as text, it may be larger than a number in a
  browser), ``captured`` in milliseconds since 1970, ``width`` and ``height`` of the coded frame, and ``boxes``, null
  where no detector looks, else a list of class, score, left, top, right and bottom in pixels of the coded frame.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from cloud_service.viewer.live.relay import News
from icm.camera_name import check_camera_name
from icm.client.live import LiveFrame
from icm.errors import ConfigError, ProtocolError

MOST_TILES = 256
_MOST_COLUMNS = 16_384


@dataclass(frozen=True)
class Watch:
    """What a page shows now.

    Attributes:
        tiles: by camera, the columns of its picture on the screen.
    """

    tiles: dict[str, float]


@dataclass(frozen=True)
class Ack:
    """What a page has drawn: the message of this number and all before it."""

    number: int


def read_message(text: str) -> Watch | Ack:
    """A page's message.

    Raises:
        ProtocolError: it is none.
    """
    try:
        message = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ProtocolError("a message of the wall is JSON") from None
    if isinstance(message, dict) and len(message) == 1:
        if isinstance(tiles := message.get("watch"), dict):
            return Watch(_tiles(tiles))
        if type(number := message.get("ack")) is int and number >= 0:
            return Ack(number)
    raise ProtocolError('a message of the wall is {"watch": {camera: columns}} or {"ack": number}')


def frame_message(camera: str, number: int, news: News, now: float, jpeg: bytes) -> bytes:
    """The viewer's message about a camera.

    Args:
        number: of the message.
        news: of the camera.
        now: the event loop's time.
        jpeg: the picture; empty where it is the one before.
    """
    state = "unreachable" if news.trouble else news.news.state if news.news is not None else "unknown"
    age, frame = None, None
    if news.shown is not None and news.shown.frame is not None:
        frame = _frame(news.shown.frame)
        if news.shown.age is not None:
            age = round(news.shown.age.total_seconds() + now - news.shown_at, 3)
    header = {"number": number, "camera": camera, "state": state, "age": age, "frame": frame}
    packed = json.dumps(header, separators=(",", ":")).encode()
    return len(packed).to_bytes(4, "big") + packed + jpeg


def _frame(frame: LiveFrame) -> dict[str, Any]:
    return {
        "sequence": frame.frame.sequence,
        "epoch": str(frame.frame.epoch),
        "captured": round(frame.captured.timestamp() * 1000),
        "width": frame.width,
        "height": frame.height,
        "boxes": None
        if frame.detections is None
        else [
            [
                box.class_name,
                round(box.score, 3),
                *(round(edge, 1) for edge in (box.left, box.top, box.right, box.bottom)),
            ]
            for box in frame.detections.boxes
        ],
    }


def _tiles(tiles: dict[str, Any]) -> dict[str, float]:
    if len(tiles) > MOST_TILES:
        raise ProtocolError(f"{len(tiles)} tiles, and {MOST_TILES} at most")
    for camera, columns in tiles.items():
        try:
            check_camera_name(camera)
        except ConfigError as error:
            raise ProtocolError(str(error)) from None
        if type(columns) not in (int, float) or not (math.isfinite(columns) and 0 < columns <= _MOST_COLUMNS):
            raise ProtocolError(f"the columns of a tile are a number from 1 to {_MOST_COLUMNS}")
    return tiles


def _refuse(constant: str) -> None:
    raise ValueError(constant)
