"""VVC by VVenC, for which FFmpeg's builds in package registries have a decoder and no encoder."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from icm_bench.accuracy.picture_codecs import vvc_decoder, vvenc
from icm_bench.video.video_codecs.base import CodedClip, Picture
from icm_bench.video.wire import by_rtp


class VvcVideo:
    """VVenC's preset medium, at constant quantisers, with one key frame. Pictures are coded out of order."""

    name = "VVenC medium, one key"
    points: tuple[str, ...] = ("47", "44", "41", "38", "35")

    def __init__(self, program: Path) -> None:
        """Creates the codec.

        Args:
            program: VVenC's vvencapp.
        """
        self._program = program

    def code(self, clip: Sequence[Picture], fps: int, point: str) -> CodedClip:
        """See ``VideoCodec.code``.

        Raises:
            ConfigError: the program is missing or fails; holds the last line of what it said.
        """
        frames = [av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p") for picture in clip]
        started = time.perf_counter()
        options = ["--preset", "medium", "--qp", point, "--intraperiod", "-1", "--framerate", str(fps)]
        coded = vvenc.encode(self._program, frames, options)
        encoded = time.perf_counter()
        sizes, pictures = decode(coded)
        return CodedClip(sizes, by_rtp(sizes), pictures, encoded - started, time.perf_counter() - encoded)


def decode(coded: bytes) -> tuple[list[int], list[Picture]]:
    """Bytes of each frame in the order they were coded, and the pictures in the order they are shown."""
    file: Any = io.BytesIO(coded)
    with av.open(file, format="vvc") as stream:
        packets = [packet for packet in stream.demux(video=0) if packet.size]
    with vvc_decoder.exact():
        decoder = av.CodecContext.create("vvc", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    return [packet.size for packet in packets], [
        np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames
    ]
