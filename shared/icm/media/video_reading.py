"""The frames of a video file, as many as can be had, and what is missing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from icm.errors import ImageError
from icm.media import jpeg
from icm.media.structure import broken
from icm.media.timeline import Timeline

_FALLBACK_FPS = Fraction(25)
"""For files that tell no frame rate."""
_MOST_FPS = 240
"""A rate above this is the resolution of a file's time stamps."""
_CLOCK_MAY_RESTART = 0x200
"""FFmpeg's flag of formats whose time stamps may be discontinuous."""
_HEADER_SAYS_DURATION = {"matroska", "webm", "mov", "mp4", "asf", "flv"}
"""Formats that are told how long they are; of others FFmpeg looks where they end, which promises nothing."""
_A_PICTURE_A_PACKET = {"h264", "hevc", "mjpeg", "mpeg2video"}
"""Codecs all of whose packets give a picture each, but for those of interlaced video, which may give half of one."""
_GAP_FOLLOWS_WITHIN = 3
"""Packets after one of a transmission that lacks a part; there a frame may be missing."""
_MOST_READ_ERRORS = 100
"""After so many in a row the rest of a file is given up."""
_MOST_BEFORE_FIRST = 1024
"""Packets whose times are remembered before the first picture came: far more than any decoder holds back."""
_DEFAULT_IS_WORTH = 5_000_000
"""Pixels by which FFmpeg prefers the stream that the file calls its default."""


def film(container: InputContainer) -> VideoStream:
    """The video that ffmpeg shows of those in the file, one at least: the default one, or else the largest, and a cover
    only where there is nothing else.
    """

    def worth(stream: VideoStream) -> int:
        # In spite of its type, the context is missing where there is no decoder.
        if stream.disposition & Disposition.attached_pic or not stream.codec_context:
            return -1
        return stream.width * stream.height + _DEFAULT_IS_WORTH * bool(stream.disposition & Disposition.default)

    return max(container.streams.video, key=worth)


class VideoReader:
    """Reads the film of an opened container, once from start to end.

    Attributes:
        stream: that it reads.
        count: frames that the container says it holds, 0 where it does not.
        interval: usual seconds from frame to frame.
        damaged: packets that could not be decoded and were left out so far; with those of which a decoder made nothing
            without a word, once all frames have come.
    """

    def __init__(
        self, container: InputContainer, path: Path, say: Callable[[str], None], longest_gap: float = math.inf
    ) -> None:
        """Prepares the video of an open file for reading.

        Args:
            path: of the file that was opened.
            say: called with plain words on where the line of time was mended and which packet was the first bad one.
            longest_gap: seconds that frames may lie apart, where that is to be less than their format allows.

        Raises:
            ImageError: FFmpeg cannot decode what the stream holds.
        """
        self._container, self._path, self._say = container, path, say
        self.stream = self._stream = film(container)
        if not self._stream.codec_context:
            raise ImageError("its video is of a kind that cannot be decoded here")
        if (count := sum(not one.disposition & Disposition.attached_pic for one in container.streams.video)) > 1:
            size = f"{self._stream.width}x{self._stream.height}"
            say(f"it holds {count} videos, of which the one that players show is taken, {size}")
        self._formats = set(container.format.name.split(","))
        self._avi = "avi" in self._formats
        self.count = 0 if self._avi else self._stream.frames
        self.interval = 1 / _rate(self._stream)
        self._clock_may_restart = bool(container.format.flags & _CLOCK_MAY_RESTART)
        self._longest_gap = longest_gap
        self.damaged = 0
        self._promised_seconds = self._promised()
        self._frames = self._packets = self._unreadable = self._blemished = self._joining = 0
        # Frames that lean on a damaged one are worth more than none; some decoders keep them back otherwise.
        self._stream.codec_context.flags |= Flags.output_corrupt
        self._first_damage: str | None = None
        self._interlaced = False
        self._endless = self._lost = 0
        self._faulty = -_GAP_FOLLOWS_WITHIN
        self._last_stamped: tuple[int, int] | None = None
        self._first_shown: int | None = None
        self._to_be_shown = 0
        self._before_first: deque[int | None] = deque()
        self._forgotten = 0
        # Some containers count from their first packet, some from zero.
        self._first_seconds = self._last_seconds = 0.0

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        """Each frame's time in microseconds from the first, which rises, and the frame."""
        stream = self._stream
        assert stream.time_base is not None
        line = Timeline(stream.time_base, self.interval, self._clock_may_restart, self._longest_gap, self._jumped)
        for packet in self._packets_to_decode():
            if packet is not None:
                self._packets += 1
                packet.pts, packet.dts = line.packet(self._time_of_showing(packet), packet.dts, packet.duration)
                self._note_gap(packet)
            frames = self._decode(packet)
            self._endless += bool(frames) and packet is not None and self._lacks_end(packet)
            for frame in frames:
                if frame.is_corrupt and not (frame.key_frame or self._frames):
                    # The file begins in the middle of a transmission.
                    self._joining += frame.pts is None
                    continue
                if not self._frames:
                    self._first_shown = frame.pts
                    self._to_be_shown += sum(map(self._counts, self._before_first))
                    self._before_first.clear()
                if self._first_damage is not None:
                    # While nothing has come, whoever reads may still give up and say why.
                    self._say(self._first_damage)
                    self._first_damage = None
                self._interlaced |= frame.interlaced_frame
                self._frames += 1
                self._blemished += frame.is_corrupt
                yield line.frame(frame.pts, frame.dts), frame
        self.damaged += max(0, self._without_picture())
        # Some cameras leave out the end of every picture; where others have one, those without lack more than that.
        self._blemished += self._endless if self._endless < self._packets else 0

    def shortfall(self) -> str | None:
        """After the last frame: what the file promised and did not give; None if nothing is known to be missing."""
        missing = []
        if self.damaged:
            missing.append(f"{self.damaged} damaged packet{'s' * (self.damaged > 1)} left out")
        if self._blemished:
            missing.append(f"{self._blemished} of them damaged in part")
        if self._lost:
            missing.append(f"{self._lost} lost with parts that are missing")
        if self._unreadable:
            missing.append("parts that could not be read")
        if self._packets < self.count:
            missing.append(f"it should hold {self.count}: it may be cut off")
        elif (ends := self._ends_early() or self._broken()) is not None:
            missing.append(ends)
        if not missing:
            return None
        return f"{self._frames} frame{'s' * (self._frames != 1)} came; {', '.join(missing)}"

    def _packets_to_decode(self) -> Iterator[Packet[Any] | None]:
        """The video's packets, and None at the end. Those of other streams only show how far the file goes."""
        errors = 0
        while True:
            try:
                for packet in self._container.demux():
                    errors = 0
                    self._note_times(packet)
                    # An empty one would tell the decoder that the file has ended.
                    if packet.stream is self._stream and packet.size:
                        yield packet
            except (av.error.FFmpegError, OSError) as error:
                self._unreadable += 1
                errors += 1
                if self._unreadable == 1:
                    self._first_damage = f"a part after {self._frames} frames cannot be read: {_text(error)}; going on"
                if errors < _MOST_READ_ERRORS:
                    continue
            yield None
            return

    def _decode(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            self.damaged += 1
            if self.damaged == 1:
                place = f"packet {self._packets}, after {self._frames} frames,"
                self._first_damage = f"{place} is damaged: {_text(error)}; going on"
            return []
        if packet is not None and not packet.is_discard:
            self._note_to_be_shown(packet.pts)
        return frames

    def _note_to_be_shown(self, pts: int | None) -> None:
        if self._frames:
            self._to_be_shown += self._counts(pts)
            return
        self._before_first.append(pts)
        if len(self._before_first) > _MOST_BEFORE_FIRST:
            if self._before_first.popleft() is None:
                self._to_be_shown += 1
            else:
                self._forgotten += 1

    def _counts(self, pts: int | None) -> bool:
        """Whether a packet is to give a picture: what would come before the first one refers to frames before the
        file's start.
        """
        return self._first_shown is None or pts is None or pts >= self._first_shown

    def _time_of_showing(self, packet: Packet[Any]) -> int | None:
        # AVI keeps none. FFmpeg's guess fits only streams whose frames come in the order in which they are shown.
        return None if self._avi else packet.pts

    def _jumped(self, seconds: float, at: float) -> None:
        way = "ahead" if seconds > 0 else "back"
        self._say(f"its time stamps jump {way} by {abs(seconds):.1f} s after {at:.1f} s; going on without the jump")

    def _note_times(self, packet: Packet[Any]) -> None:
        stamps = [stamp for stamp in (packet.pts, packet.dts) if stamp is not None]
        if not stamps or packet.time_base is None:
            return
        first, end = min(stamps) * packet.time_base, (max(stamps) + (packet.duration or 0)) * packet.time_base
        self._first_seconds = min(float(first), self._first_seconds)
        self._last_seconds = max(float(end), self._last_seconds)

    def _note_gap(self, packet: Packet[Any]) -> None:
        """Sees where frames are missing, of which nothing else tells."""
        if self._stream.codec_context.name == "mjpeg":
            # What is left of a picture whose start was hit hangs on the one before it.
            self._lost += max(0, _ends(packet))
        if packet.is_corrupt:
            self._faulty = self._packets
        if packet.dts is None or packet.time_base is None:
            return
        if self._last_stamped is not None and self._packets <= self._faulty + _GAP_FOLLOWS_WITHIN:
            number, dts = self._last_stamped
            passed = (packet.dts - dts) * packet.time_base / self.interval
            self._lost += max(0, round(passed) - (self._packets - number))
        self._last_stamped = self._packets, packet.dts

    def _lacks_end(self, packet: Packet[Any]) -> bool:
        return self._stream.codec_context.name == "mjpeg" and _ends(packet) < 0

    def _without_picture(self) -> int:
        """How many packets a decoder took without a word and made nothing of."""
        if self._interlaced or self._stream.codec_context.name not in _A_PICTURE_A_PACKET:
            return 0
        expected = self._to_be_shown + len(self._before_first)
        if self._first_shown is None:
            expected += self._forgotten
        return expected - self._joining - self._frames

    def _promised(self) -> float:
        """Seconds that the container says it lasts; 0 where it does not."""
        if self._avi and self._stream.time_base is not None:
            # Counted in these units, which need not be frames.
            return float(self._stream.frames * self._stream.time_base)
        if self._formats & _HEADER_SAYS_DURATION and self._container.duration is not None:
            return self._container.duration / av.time_base
        return 0.0

    def _broken(self) -> str | None:
        try:
            return broken(self._path)
        except OSError:
            # It is gone by now, and has told all it could.
            return None

    def _ends_early(self) -> str | None:
        promised = self._promised_seconds
        came = self._last_seconds - self._first_seconds
        # The last packet's length may be unknown.
        if promised - came <= max(2 * float(self.interval), 0.3):
            return None
        return f"it should last {promised:.1f} s and ends after {came:.1f} s: it may be cut off"


def _ends(packet: Packet[Any]) -> int:
    """How many JPEG pictures end in the packet beyond those that start there."""
    data = bytes(packet)
    return data.count(jpeg.END) - data.count(jpeg.START)


def _rate(stream: VideoStream) -> Fraction:
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and rate <= _MOST_FPS:
            return rate
    return _FALLBACK_FPS


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
