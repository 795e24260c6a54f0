"""Chains of records of a camera's video: what ``icm-bench exactness`` has every runtime decode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icm.codec.bitstream.record import Kind, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder, recode_intra
from icm.codec.latents.latents import QUALITY_STEPS, Latents
from icm.errors import ImageError
from icm.media.video_files import open_video

_SIZES = ((250, 188), (200, 150), (161, 129), (143, 111), (175, 98), (98, 175), (130, 97), (47, 33))
"""No side is a multiple of 16: some are half a block over, some a pixel over, some a pixel short."""
_STEPS = (1, 2, 3)
_QUALITY_FRAMES = 20
"""Frames between two changes of quality, on average."""
_NEAR = 4
"""Sixteenths of a level that half of the changes go at most, as rate control does; the others go anywhere."""
_INTRA_FRAMES = 60
"""Frames between two that are coded alone in any case, and P frames between two that are coded again alone."""


@dataclass(frozen=True)
class Chain:
    """One camera's records.

    Attributes:
        number: also the seed of its choices.
        width: of its pictures.
        height: of its pictures.
        cut: whether they are cut out of the middle of the video's instead of scaled down.
        step: every how many-th frame is taken.
    """

    number: int
    width: int
    height: int
    cut: bool
    step: int


CHAINS = tuple(
    Chain(number, width, height, cut, _STEPS[number % len(_STEPS)])
    for number, (cut, (width, height)) in enumerate((cut, size) for cut in (False, True) for size in _SIZES)
)


@dataclass(frozen=True)
class Sent:
    """A record as it was made.

    Attributes:
        data: a stream header and the record, the bytes that a decoder gets.
        sequence: as in ``Record``.
        kind: as in ``Record``.
        quality: as in ``Record``.
        payload: as in ``Record``.
        latents: those that were coded.
        again: whether it is the frame of the record before it once more, coded alone.
    """

    data: bytes
    sequence: int
    kind: Kind
    quality: int
    payload: bytes
    latents: Latents
    again: bool


def records(bundle: Bundle, clip: Path, chain: Chain, count: int) -> Iterator[Sent]:
    """The first records of a chain, which goes on after a frame that was coded again alone.

    Raises:
        ImageError: the clip cannot be read.
    """
    yield from islice(_endless(bundle, clip, chain), count)


def _endless(bundle: Bundle, clip: Path, chain: Chain) -> Iterator[Sent]:
    header = StreamHeader(bundle.codec_id, f"chain-{chain.number}", 1, 0, chain.width, chain.height)
    encoder, dice = Encoder(bundle), np.random.default_rng(chain.number)
    best = (bundle.levels - 1) * QUALITY_STEPS
    quality = int(dice.integers(best + 1))
    for sequence, image in enumerate(_pictures(clip, chain), start=1):
        if dice.random() < 1 / _QUALITY_FRAMES:
            near = quality + int(dice.integers(-_NEAR, _NEAR + 1))
            quality = min(max(near, 0), best) if dice.random() < 0.5 else int(dice.integers(best + 1))
        frame = encoder.encode(image, quality / QUALITY_STEPS, intra=dice.random() < 1 / _INTRA_FRAMES)
        yield _sent(frame, header, sequence, again=False)
        if frame.kind is Kind.P and dice.random() < 1 / _INTRA_FRAMES:
            yield _sent(recode_intra(bundle, frame.latents), header, sequence, again=True)


def _sent(frame: CodedFrame, header: StreamHeader, sequence: int, *, again: bool) -> Sent:
    data = header.pack() + frame.record(sequence, 0).pack(header)
    return Sent(data, sequence, frame.kind, frame.quality, frame.payload, frame.latents, again)


def _pictures(clip: Path, chain: Chain) -> Iterator[NDArray[np.uint8]]:
    """The chain's pictures, uint8[height, width, 3]; after the clip's end from its start again."""
    while True:
        image = None
        with open_video(clip, print, print) as (_, video):
            for _, image in islice(video, 0, None, chain.step):
                yield _cut(image, chain) if chain.cut else _scaled(image, chain)
        if image is None:
            raise ImageError(f"{clip} holds no frames")


def _scaled(image: NDArray[np.uint8], chain: Chain) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((chain.width, chain.height)))


def _cut(image: NDArray[np.uint8], chain: Chain) -> NDArray[np.uint8]:
    """Returns the middle of a picture, of the chain's size.

    Raises:
        ImageError: the video's pictures are smaller than the chain's.
    """
    top, left = (image.shape[0] - chain.height) // 2, (image.shape[1] - chain.width) // 2
    if top < 0 or left < 0:
        raise ImageError(f"the clip's pictures are smaller than {chain.width}x{chain.height}")
    return np.ascontiguousarray(image[top : top + chain.height, left : left + chain.width])
