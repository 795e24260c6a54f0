"""The child process that opens a camera; run as a script, so that it loads little more than FFmpeg.

Standard input: one line of JSON ``{"url", "format", "options"}``, then nothing; its end means that the parent is gone.
Standard output: messages, each a ``MESSAGE`` struct and its body: a frame's RGB rows, or an error's text.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from typing import BinaryIO

import av
import av.error

from shared.codec.upright import ShownFrames

MESSAGE = struct.Struct("<BIIQI")
"""Kind, width, height in pixels, capture time in microseconds since 1970 (UTC), and the body's length in bytes."""
FRAME, ERROR = 0, 1


def main() -> None:
    out = sys.stdout.buffer
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    av.logging.set_level(None)
    try:
        _capture(order["url"], order["format"], order["options"], out)
        problem = "it closed the stream"
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    text = problem.encode()
    _write(out, MESSAGE.pack(ERROR, 0, 0, 0, len(text)), text)


def _capture(url: str, format: str | None, options: dict[str, str], out: BinaryIO) -> None:
    with av.open(url, format=format, options=options) as container:
        shown = ShownFrames(container.streams.video[0])
        for packet in container.demux(video=0):
            now_us = time.time_ns() // 1000
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                # Usual right after joining a running stream; if no good packet follows, the parent's patience ends.
                continue
            for frame in frames:
                picture = shown(frame)
                height, width = picture.shape[:2]
                _write(out, MESSAGE.pack(FRAME, width, height, now_us, picture.nbytes), picture.data)


def _write(out: BinaryIO, head: bytes, body: bytes | memoryview) -> None:
    out.write(head)
    out.write(body)
    out.flush()


def _die_with_parent() -> None:
    # FFmpeg may hang in a system call; a killed parent can no longer kill us.
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
