"""The child process that opens a camera; run as a script, so that it loads little more than FFmpeg.

Standard input: one line of JSON ``{"url", "format", "options", "timeout_seconds"}``, then nothing; its end means that
the parent is gone. Standard output: messages, each a ``MESSAGE`` struct and its body: a frame's RGB rows, an error's
text, or nothing: a packet was damaged, or no picture came but the camera is still there.

One thread receives and notes when what came, one decodes, one watches the connection.
"""

from __future__ import annotations

import json
import os
import queue
import struct
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av
import av.error
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge_service.sources.live.coded_frames import Arrival, CodedFrames
from edge_service.sources.live.connection import Connections
from icm.media.orientation import ShownFrames
from icm.media.timeline import LiveTimeline

if TYPE_CHECKING:
    # With the moment of their arrival in microseconds since 1970; last of all comes the error that ended them, if any.
    Pieces = queue.Queue[tuple[Packet[Any], int] | Exception | None]

MESSAGE = struct.Struct("<BIIQI")
"""Kind, width, height in pixels, capture time in microseconds since 1970 (UTC), and the body's length in bytes."""
FRAME, ERROR, DAMAGED, ALIVE = 0, 1, 2, 3
_WAITING_PIECES = 256
"""Pieces of frames that may wait to be decoded; a decoder that is too slow holds the camera up then."""
_LOOKS_PER_TIMEOUT = 4
_NO_LIMIT = 1e9
"""Seconds."""


def main() -> None:
    out = _Messages(sys.stdout.buffer)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    agreement = _Agreement()
    threading.Thread(target=_watch, args=(order["timeout_seconds"], agreement, out), daemon=True).start()
    av.logging.set_level(None)
    try:
        _capture(order["url"], order["format"], order["options"], agreement, out)
        problem = "it closed the stream"
    except (av.error.FFmpegError, OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    out.write(ERROR, 0, 0, 0, problem.encode())
    # FFmpeg may be at work in a thread still.
    os._exit(0)


class _Messages:
    """What is written to the parent, whole messages from any thread."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._lock = out, threading.Lock()

    def write(self, kind: int, width: int, height: int, capture_us: int, body: bytes | memoryview) -> None:
        with self._lock:
            length = body.nbytes if isinstance(body, memoryview) else len(body)
            self._out.write(MESSAGE.pack(kind, width, height, capture_us, length))
            self._out.write(body)
            self._out.flush()

    def say(self, kind: int) -> None:
        self.write(kind, 0, 0, 0, b"")


class _Agreement:
    """Finds out when a camera has agreed to send, which is long before ``av.open`` returns if its pictures are slow.

    PyAV takes it for a limit in seconds, and asks how long that is once before it talks to the camera and once more
    before it looks at the first packet. There is no limit: the parent's patience is one.
    """

    def __init__(self) -> None:
        self._asked, self.reached = 0, threading.Event()

    def __float__(self) -> float:
        self._asked += 1
        if self._asked > 1:
            self.reached.set()
        return _NO_LIMIT


def _capture(url: str, format: str | None, options: dict[str, str], agreement: _Agreement, out: _Messages) -> None:
    # The first picture takes far longer than any after it, and a camera's first frames would pile up behind it.
    VideoFrame(64, 48, "yuv420p").reformat(format="rgb24").to_ndarray()
    container = av.open(url, format=format, options=options, timeout=(cast(float, agreement), None))
    agreement.reached.set()
    if not container.streams.video:
        raise ValueError("it sends no video")
    stream = container.streams.video[0]
    pieces: Pieces = queue.Queue(_WAITING_PIECES)
    threading.Thread(target=_receive, args=(container, stream, pieces), daemon=True).start()
    frames, pictures = CodedFrames(stream.codec_context), _Pictures(stream, out)
    while True:
        try:
            piece = pieces.get(timeout=frames.patience)
        except queue.Empty:
            pictures.decode(frames.flush())
            continue
        if not isinstance(piece, tuple):
            break
        pictures.decode(frames.add(*piece))
    pictures.decode(frames.flush())
    pictures.decode_rest()
    if piece is not None:
        raise piece


def _receive(container: InputContainer, stream: VideoStream, pieces: Pieces) -> None:
    try:
        for packet in container.demux(stream):
            if packet.size:
                pieces.put((packet, time.time_ns() // 1000))
    except (av.error.FFmpegError, OSError) as error:
        pieces.put(error)
    else:
        pieces.put(None)


class _Pictures:
    """Decodes frames and writes them to the parent."""

    def __init__(self, stream: VideoStream, out: _Messages) -> None:
        assert stream.time_base is not None
        self._codec, self._unit, self._out = stream.codec_context, float(stream.time_base), out
        # Frames that refer to a damaged one are worth more than none; some decoders keep them back otherwise.
        self._codec.flags |= Flags.output_corrupt
        self._line, self._shown = LiveTimeline(), ShownFrames(stream)
        self._any = False
        self._capture_us = 0

    def decode(self, coded: Iterable[tuple[Packet[Any], Arrival]]) -> None:
        """Decodes whole frames, in the order in which they came."""
        for packet, arrival in coded:
            seconds = None if arrival.pts is None else arrival.pts * self._unit
            self._capture_us = self._line.packet(arrival.us, seconds)
            # The decoder hands it on with the frame, in whatever order those come out.
            packet.pts, packet.dts = self._capture_us, None
            self._decode(packet)

    def decode_rest(self) -> None:
        """What the decoder holds back to bring it into order."""
        self._decode(None)

    def _decode(self, packet: Packet[Any] | None) -> None:
        try:
            frames = self._codec.decode(packet)
        except av.error.InvalidDataError:
            # Usual right after joining a running stream; if no good packet follows, the parent's patience ends.
            if self._any:
                self._out.say(DAMAGED)
            return
        for frame in frames:
            if frame.is_corrupt and not (frame.key_frame or self._any):
                # The stream was joined in the middle.
                continue
            self._any = True
            self._write(frame)

    def _write(self, frame: VideoFrame) -> None:
        capture_us = self._capture_us if frame.pts is None else frame.pts
        capture_us = self._line.frame(capture_us, time.time_ns() // 1000)
        picture = self._shown(frame)
        height, width = picture.shape[:2]
        self._out.write(FRAME, width, height, capture_us, picture.data)


def _watch(timeout_seconds: float, agreement: _Agreement, out: _Messages) -> None:
    connections = Connections(timeout_seconds)
    agreement.reached.wait()
    while True:
        time.sleep(timeout_seconds / _LOOKS_PER_TIMEOUT)
        if connections.alive():
            out.say(ALIVE)


def _die_with_parent() -> None:
    # FFmpeg may hang in a system call; a killed parent can no longer kill us.
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
