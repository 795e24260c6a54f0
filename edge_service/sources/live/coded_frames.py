"""From the pieces in which a camera's stream arrives to whole coded frames, each with the moment at which it came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

QUIET_SECONDS = 2.0
"""A slow camera's frame is whole once nothing came for so long."""
MOST_BYTES = 32 << 20
"""Pieces in which no frame ends are let go beyond so much; the largest coded frame of a camera is far smaller."""
_IN_PIECES = {"h261", "h263", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vvc"}
"""Codecs whose frames FFmpeg's RTP gives in pieces, and shows to be whole only by the next one's first piece."""


@dataclass(frozen=True)
class Arrival:
    """When a piece of the stream came.

    Attributes:
        us: when it came, microseconds since 1970, UTC.
        pts: when it is to be shown, in the stream's units; None where the stream does not say.
    """

    us: int
    pts: int | None


class CodedFrames:
    """Puts pieces together. FFmpeg's own way of doing that would hold each frame back until the next one comes, which
    may be an hour, and keep the moment of that arrival to itself.
    """

    def __init__(self, codec: VideoCodecContext) -> None:
        self._codec = codec
        self._in_pieces = codec.name in _IN_PIECES
        # The first piece of the frame that is under way, and the newest, which may be the next one's first.
        self._begun: list[Arrival] = []
        self._bytes = 0
        self._last_us: int | None = None
        self._interval_us = float("inf")

    def add(self, piece: Packet[Any], arrival_us: int) -> Iterator[tuple[Packet[Any], Arrival]]:
        """Frames that are whole now that this piece came."""
        arrival = Arrival(arrival_us, piece.pts)
        if not self._in_pieces:
            yield piece, arrival
            return
        if not self._begun or piece.pts is None or piece.pts != self._begun[-1].pts:
            self._begun[1:] = [arrival]
        self._bytes += piece.size
        if self._bytes > MOST_BYTES:
            # What the camera sends never makes a frame, and FFmpeg's parser would keep all of it.
            self._drop()
        for frame in self._codec.parse(bytes(piece)):
            self._bytes = piece.size
            yield frame, self._taken(self._begun[0] if self._begun else arrival)
            # What the parser made one frame of counts as one; as a rule the newest piece belongs to the next.
            self._begun = self._begun[-1:] if len(self._begun) > 1 else []

    def flush(self) -> Iterator[tuple[Packet[Any], Arrival]]:
        """The frame that was begun, whole or not."""
        if self._begun:
            for frame in self._codec.parse(None):
                yield frame, self._taken(self._begun[0])
            self._begun, self._bytes = [], 0

    @property
    def patience(self) -> float | None:
        """Seconds after which a frame that was begun is whole; None where the next one's first piece is to tell.

        With a camera whose frames come fast, a pause within a frame is more likely the network's.
        """
        slow = self._interval_us >= QUIET_SECONDS * 1e6
        return QUIET_SECONDS if self._begun and slow else None

    def _drop(self) -> None:
        """Lets go of what the parser has gathered."""
        for _ in self._codec.parse(None):
            pass
        self._begun, self._bytes = self._begun[-1:], 0

    def _taken(self, arrival: Arrival) -> Arrival:
        if self._last_us is not None:
            self._interval_us = arrival.us - self._last_us
        self._last_us = arrival.us
        return arrival
