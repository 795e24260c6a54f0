"""What was found in the frames of a window, for pages that draw it over the video and for players that show texts."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from cloud_service.sightings.timeline import FrameBoxes, list_boxes
from cloud_service.viewer.playback.stored.windows import Window

LONGEST_WINDOW_US = 600_000_000
_SHOWN_US = 1_000_000
"""How long boxes are shown at most, where the next ones are far away."""


def read_boxes(connection: Connection, camera: str, window: Window) -> dict[str, Any]:
    """Boxes frame by frame.

    Returns:
        ``frames``: [capture time in milliseconds, width, height, boxes] each, where a box is [class, score, left, top,
            right, bottom, sighting]; edges and sizes in pixels. Width and height are 0, and the sighting too, while
            the frame's segment goes on.
        ``next``: where the rest begins, in milliseconds; null if this is all.
    """
    frames, next_us = list_boxes(connection, camera, window.from_us, window.to_us)
    return {
        "frames": [[of.event.capture_us / 1000, of.width, of.height, _boxes(of)] for of in frames],
        "next": None if next_us is None else next_us // 1000,
    }


def boxes_vtt(connection: Connection, camera: str, window: Window) -> str:
    """Boxes as WebVTT, a cue a frame: its times are counted from the window's start, its text is JSON as above."""
    frames, _ = list_boxes(connection, camera, window.from_us, window.to_us)
    cues = ["WEBVTT", ""]
    for place, of in enumerate(frames):
        start = of.event.capture_us
        following = frames[place + 1].event.capture_us if place + 1 < len(frames) else start + _SHOWN_US
        end = max(start + 1000, min(following, start + _SHOWN_US))
        text = json.dumps({"width": of.width, "height": of.height, "boxes": _boxes(of)}, separators=(",", ":"))
        # An arrow would end the text.
        cues += [
            f"{_offset(start - window.from_us)} --> {_offset(end - window.from_us)}",
            text.replace("-->", "--\\u003e"),
            "",
        ]
    return "\n".join(cues)


def _boxes(of: FrameBoxes) -> list[list[Any]]:
    sightings = of.sightings or (0,) * len(of.event.detections)
    return [
        [
            found.class_name,
            round(found.score, 3),
            *(round(edge, 1) for edge in (found.left, found.top, found.right, found.bottom)),
            sighting,
        ]
        for found, sighting in zip(of.event.detections, sightings, strict=True)
    ]


def _offset(us: int) -> str:
    minutes, rest = divmod(max(0, us) // 1000, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
