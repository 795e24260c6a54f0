"""VVC intra by VVenC."""

from __future__ import annotations

from pathlib import Path

from icm_bench.accuracy.picture_codecs import vvc_decoder, vvenc
from icm_bench.accuracy.picture_codecs.base import Picture
from icm_bench.accuracy.picture_codecs.planes import decode_stream, to_yuv

QUANTISERS = (47, 42, 37, 32, 27)


class VvcIntra:
    """One intra picture, one quantiser, preset medium."""

    name, slow_to_encode = "VVC", True

    def __init__(self, quantiser: int, program: Path) -> None:
        """Creates the codec at one quantiser.

        Args:
            quantiser: 0 to 63.
            program: VVenC's vvencapp.
        """
        self.setting, self.key = str(quantiser), f"VVC-{quantiser}"
        self._quantiser, self._program = quantiser, program

    def encode(self, image: Picture) -> bytes:
        """See ``PictureCodec.encode``.

        Raises:
            ConfigError: the program is missing or fails; holds the last line of what it said.
        """
        options = ["--preset", "medium", "--qp", str(self._quantiser), "--intraperiod", "1"]
        return vvenc.encode(self._program, [to_yuv(image)], options)

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """See ``PictureCodec.decode``."""
        with vvc_decoder.exact():
            return decode_stream(coded, "vvc", width, height)
