"""VVC is decoded as its encoder reconstructed it, whatever the processor can do."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import av

from icm_bench.accuracy.picture_codecs import vvc_decoder

STREAM = Path(__file__).with_name("texture.266")
"""A blurred noise of 264 by 136 pixels, 8 bits, coded by VVenC 1.14 at quantiser 42."""
RECONSTRUCTED = "261b1cf99b8134afc3db9e27854808640cca7e6ceaad95db97e13f8621511388"
"""SHA-256 of the planes that VVenC wrote beside it."""


def planes() -> bytes:
    with av.open(io.BytesIO(STREAM.read_bytes()), mode="r", format="vvc") as stream:
        (frame,) = stream.decode(video=0)
        return frame.to_ndarray().tobytes()


def test_pictures_are_those_that_the_encoder_reconstructed() -> None:
    with vvc_decoder.exact():
        assert hashlib.sha256(planes()).hexdigest() == RECONSTRUCTED


def test_decoders_made_later_use_again_what_the_processor_has() -> None:
    before = planes()
    with vvc_decoder.exact():
        pass
    assert planes() == before
