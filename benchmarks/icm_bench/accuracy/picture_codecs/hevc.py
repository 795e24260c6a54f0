"""HEVC intra by x265. What counts is the bare elementary stream: parameter sets and one coded picture, no container."""

from __future__ import annotations

from fractions import Fraction

import av

from icm_bench.accuracy.picture_codecs.base import Picture
from icm_bench.accuracy.picture_codecs.planes import decode_stream, to_yuv

QUANTISERS = (50, 46, 42, 38, 34, 30, 26)


class HevcIntra:
    """One intra picture, preset slow, one quantiser."""

    name, slow_to_encode = "HEVC", True

    def __init__(self, quantiser: int) -> None:
        """quantiser: 0 to 51."""
        self.setting, self.key = str(quantiser), f"HEVC-{quantiser}"
        self._quantiser = quantiser

    def encode(self, image: Picture) -> bytes:
        """See ``PictureCodec.encode``."""
        frame = to_yuv(image)
        encoder = av.CodecContext.create("libx265", "w")
        encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv420p"
        encoder.time_base = Fraction(1, 25)
        # No message with the encoder's settings in the stream, no second core: other work may run beside this.
        silent = f"keyint=1:info=0:log-level=none:range=full:pools=1:frame-threads=1:qp={self._quantiser}"
        encoder.options = {"preset": "slow", "x265-params": silent}
        frame.pts = 0
        return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """See ``PictureCodec.decode``."""
        return decode_stream(coded, "hevc", width, height)
