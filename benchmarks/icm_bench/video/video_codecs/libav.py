"""Standard video codecs, by the encoders that come with PyAV."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from fractions import Fraction

import av
import numpy as np

from icm_bench.video.video_codecs.base import CodedClip, Picture
from icm_bench.video.wire import by_rtp

_NEVER = 100_000
"""Frames; no clip is as long."""


class LibavCodec:
    """An encoder at constant rate factors. Its bytes are the bare packets, without any container."""

    def __init__(
        self,
        name: str,
        encoder: str,
        decoder: str,
        gop_seconds: int | None,
        options: Mapping[str, str],
        points: tuple[str, ...],
    ) -> None:
        """Creates a codec of FFmpeg.

        Args:
            encoder: FFmpeg's name of it.
            decoder: FFmpeg's name of it.
            gop_seconds: from one key frame to the next; None for the first frame only.
            options: of the encoder; the rate factor comes on top.
            points: rate factors, from few bits to many.
        """
        self.name, self.points = name, points
        self._encoder, self._decoder = encoder, decoder
        self._gop_seconds, self._options = gop_seconds, dict(options)

    def code(self, clip: Sequence[Picture], fps: int, point: str) -> CodedClip:
        height, width = clip[0].shape[:2]
        encoder = av.CodecContext.create(self._encoder, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
        encoder.gop_size = fps * self._gop_seconds if self._gop_seconds else _NEVER
        encoder.options = {**self._options, "crf": point}
        started = time.perf_counter()
        packets = []
        for number, picture in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        encoded = time.perf_counter()
        decoder = av.CodecContext.create(self._decoder, "r")
        assert isinstance(decoder, av.VideoCodecContext)
        frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
        ordered = sorted(frames, key=lambda frame: frame.pts or 0)
        pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in ordered]
        decoded = time.perf_counter()
        sizes = [packet.size for packet in packets]
        return CodedClip(sizes, by_rtp(sizes), pictures, encoded - started, decoded - encoded)


def anchors(few: bool = False) -> list[LibavCodec]:
    """What cameras send, and what the same standards can do with time, with a key frame every five seconds or only one.

    With one key frame as with ours, somebody who joins waits until the sender is asked for another.

    Args:
        few: only what cameras send, and x265 and SVT-AV1 with one key frame.
    """
    camera = {"preset": "veryfast", "tune": "zerolatency"}
    medium = {"preset": "medium"}
    quiet = medium | {"x265-params": "log-level=error:keyint=-1:scenecut=0"}
    x264, x265 = ("47", "44", "41", "38", "35"), ("45", "42", "39", "36", "33")
    svt = ("63", "59", "55", "51", "46")
    every = [
        LibavCodec("x264 veryfast zerolatency, 2 s", "libx264", "h264", 2, camera, ("50", "47", "44", "41", "38")),
        LibavCodec("x264 medium, 5 s", "libx264", "h264", 5, medium, x264),
        LibavCodec("x264 medium, one key", "libx264", "h264", None, medium | {"sc_threshold": "0"}, x264),
        LibavCodec("x265 medium, 5 s", "libx265", "hevc", 5, medium | {"x265-params": "log-level=error"}, x265),
        LibavCodec("x265 medium, one key", "libx265", "hevc", None, quiet, x265),
        LibavCodec("SVT-AV1 preset 7, 5 s", "libsvtav1", "libdav1d", 5, {"preset": "7"}, svt),
        LibavCodec("SVT-AV1 preset 7, one key", "libsvtav1", "libdav1d", None, {"preset": "7"}, svt),
    ]
    return [every[0], every[4], every[6]] if few else every
