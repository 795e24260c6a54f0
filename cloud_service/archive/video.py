"""Pictures to one MP4 of H.264, at the pace they were captured, that can be played from any five seconds on."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from cloud_service.archive.fragments import TICKS, to_microseconds, to_ticks
from cloud_service.archive.mp4_layout import Layout, plain_with_fragments
from icm.errors import StorageError

KEY_TICKS = 5 * TICKS
"""Capture time from one key frame to the next, at least."""
# Key frames come when they are due by capture time, and else never: each begins a fragment.
_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "26", "g": "1000000", "sc_threshold": "0"}
_MUXER = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer",
    # Else times would be counted from the first frame.
    "avoid_negative_ts": "disabled",
}
_BT709 = 1
DEFAULT_FRAME_SECONDS = 0.1
"""How long the only frame of a video is shown."""


class VideoEncoder:
    """One MP4 file in the making, held in memory until it is whole.

    A frame is shown until the next one's capture time; one that is not later than the one before it is shown as briefly
    as the format allows. ``mp4_layout`` says what the file looks like.
    """

    def __init__(self, width: int, height: int, key_ticks: int = KEY_TICKS) -> None:
        """Begins a video of pictures of this size.

        Args:
            width: in pixels.
            height: in pixels.
            key_ticks: from one key frame to the next, at least.
        """
        # 4:2:0 wants even sides; a repeated last row or column is the least visible way to get them.
        self._pad = ((0, height % 2), (0, width % 2), (0, 0))
        self._buffer = BytesIO()
        self._container = av.open(self._buffer, "w", format="mp4", options=_MUXER)
        self._stream = self._container.add_stream("libx264", rate=None, options=_OPTIONS)
        context = self._stream.codec_context
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        context.thread_count = 1
        context.time_base = self._stream.time_base = Fraction(1, TICKS)
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = _BT709
        self._pending: av.Packet[Any] | None = None
        self._pending_pts = 0
        self._first_pts: int | None = None
        self._key_ticks, self._next_key = key_ticks, 0
        self.frames = 0
        self.duration_us = 0

    def add(self, image: NDArray[np.uint8], capture_us: int) -> None:
        """Adds a picture uint8[H, W, 3], RGB.

        Raises:
            StorageError: the encoder failed.
        """
        pts = to_ticks(capture_us)
        if self._pending is not None:
            pts = max(pts, self._pending_pts + 1)
            self._write(pts - self._pending_pts)
        if self._pad != ((0, 0), (0, 0), (0, 0)):
            image = np.pad(image, self._pad, mode="edge")
        try:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = pts, Fraction(1, TICKS)
            if self._first_pts is None or pts >= self._next_key:
                frame.pict_type, self._next_key = PictureType.I, pts + self._key_ticks
            (self._pending,) = self._stream.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise StorageError(f"cannot encode frame {self.frames + 1} of a video: {error}") from error
        self._pending_pts = pts
        self._first_pts = pts if self._first_pts is None else self._first_pts
        self.frames += 1

    def finish(self) -> Layout:
        """The whole file. The last frame is shown for as long as the others are on average."""
        last = round(self.duration_us * TICKS / 1e6 / (self.frames - 1)) if self.frames > 1 else 0
        self._write(last or round(DEFAULT_FRAME_SECONDS * TICKS))
        self._container.close()
        return plain_with_fragments(self._buffer.getvalue())

    def _write(self, ticks: int) -> None:
        assert self._pending is not None
        assert self._first_pts is not None
        # How long a packet lasts is known only now, when the next one's time is.
        self._pending.duration = ticks
        self._container.mux(self._pending)
        self.duration_us = to_microseconds(self._pending_pts + ticks - self._first_pts)
        self._pending = None
