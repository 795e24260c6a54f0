"""Single pictures as ``.icm`` files: a stream header and one I record."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import StreamHeader, parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.lookup import bundle_of, loaded
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder, quality_units
from icm.errors import CodecMismatchError, ConfigError, ImageError, RecordError

CAMERA = "file"
"""What files name as their camera."""


def encode(image: NDArray[np.uint8], quality: float = 3.0, *, bundle: Bundle | None = None) -> bytes:
    """Codes one picture as a whole ``.icm`` file.

    Args:
        image: uint8[H, W, 3], RGB; at most 8,388,608 pixels and 16,384 to a side.
        quality: level, 0 (fewest bits) to 7 with the bundles that ship; fractions lie in between.
        bundle: the codec; None for ``DEFAULT_BUNDLE``.

    Returns:
        The file's bytes: the same as ``icm encode`` writes.

    Raises:
        ImageError: the picture has another type or shape, or is too large.
        ConfigError: there is no such quality.
        BundleError: the bundle that ships is missing or damaged.
    """
    bundle = bundle or loaded(DEFAULT_BUNDLE)
    pixels = _pixels(image)
    level = _level(bundle, quality)
    coded = Encoder(bundle).encode(pixels, level)
    header = StreamHeader(bundle.codec_id, CAMERA, 1, 0, pixels.shape[1], pixels.shape[0])
    return header.pack() + coded.record(1, 0).pack(header)


def decode(data: bytes, *, bundle: Bundle | None = None, for_detector: bool = False) -> NDArray[np.uint8]:
    """Decodes a whole ``.icm`` file of one picture.

    Args:
        data: the file's bytes.
        bundle: the codec; None for whichever of those that ship the file was made with.
        for_detector: as detectors are to see it; see ``Decoder.picture``.

    Returns:
        The picture, uint8[H, W, 3], RGB.

    Raises:
        RecordError: the bytes are no such file, are damaged or cut off, or hold several pictures.
        CodecMismatchError: the file was made with another codec.
        BundleError: a bundle that ships is missing or damaged.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise RecordError(f"an .icm file is given as its bytes, not as {type(data).__name__}: read it first")
    header, records = parse_stream(bytes(data))
    found = list(records)
    if len(found) != 1:
        raise RecordError(
            f"the file holds {len(found)} pictures instead of one: take them apart with icm.parse_stream and decode"
            " them one after the other with icm.Decoder"
        )
    bundle = bundle or bundle_of(header)
    if header.codec_id not in bundle.decodes:
        raise CodecMismatchError(
            f"the file was made with codec {header.codec_id.hex()[:16]}, but bundle {bundle.name} is codec"
            f" {bundle.codec_id.hex()[:16]}: load the right one with icm.Bundle.load(folder) and give it as bundle"
        )
    return Decoder(bundle).decode(found[0], header.width, header.height, for_detector=for_detector)


def _pixels(image: Any) -> NDArray[np.uint8]:
    if isinstance(image, str | bytes) or image is None:
        raise ImageError(f"a picture is an array uint8[H, W, 3], RGB, not {type(image).__name__}: open the file first")
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise ImageError(
            f"a picture has the shape [H, W, 3], rows, columns and RGB, not {list(pixels.shape)}: a grey one is"
            " numpy.repeat(grey[..., None], 3, axis=2), one with alpha is laid over a background first"
        )
    if pixels.dtype != np.uint8:
        raise ImageError(
            f"a picture has the type uint8, 0 to 255, not {pixels.dtype}: of floats from 0 to 1 that is"
            " (image * 255).round().astype(numpy.uint8)"
        )
    return np.ascontiguousarray(pixels)


def _level(bundle: Bundle, quality: Any) -> float:
    if isinstance(quality, bool) or not isinstance(quality, Real):
        raise ConfigError(f"a quality is a number from 0 to {bundle.levels - 1}, not {quality!r}")
    quality_units(bundle, float(quality))
    return float(quality)
