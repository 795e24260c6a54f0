"""Codecs of single pictures: what they count is all that is needed to see the picture again."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import ConfigError
from icm_bench.accuracy.measurement import peak_ratio
from icm_bench.accuracy.picture_codecs.base import Picture, PictureCodec
from icm_bench.accuracy.picture_codecs.files import FileCodec
from icm_bench.accuracy.picture_codecs.hevc import HevcIntra
from icm_bench.accuracy.picture_codecs.ours import OurCodec
from icm_bench.accuracy.picture_codecs.source import Source
from icm_bench.accuracy.picture_codecs.vvc import VvcIntra

WIDTH, HEIGHT = 99, 77


@pytest.fixture(scope="module")
def picture() -> Picture:
    """Smooth colour with an edge, odd sides."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    colour = np.stack([rows * 2, columns * 2, 200 - rows - columns // 2], -1)
    colour[20:50, 30:70] = (220, 40, 30)
    return colour.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(DEFAULT_BUNDLE, threads=1)


def pairs(bundle: Bundle) -> list[tuple[PictureCodec, PictureCodec]]:
    """A coarse and a fine setting of each."""
    return [
        *((FileCodec(name, 10), FileCodec(name, 80)) for name in ("JPEG", "WEBP", "AVIF")),
        (HevcIntra(46), HevcIntra(24)),
        (OurCodec("ours", bundle, 0), OurCodec("ours", bundle, bundle.levels - 1)),
    ]


def test_every_codec_gives_back_a_picture_of_the_size_and_the_finer_setting_a_closer_one_for_more_bytes(
    picture: Picture, bundle: Bundle
) -> None:
    for coarse, fine in pairs(bundle):
        sizes, image_quality = [], []
        for codec in (coarse, fine):
            coded = codec.encode(picture)
            decoded = codec.decode(coded, WIDTH, HEIGHT)
            assert decoded.shape == picture.shape, codec.key
            assert decoded.dtype == np.uint8
            sizes.append(len(coded))
            image_quality.append(peak_ratio(picture, decoded))
        assert sizes[0] < sizes[1] < picture.nbytes, coarse.name
        assert 18 < image_quality[0] < image_quality[1], coarse.name


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (220, 40, 30), (30, 200, 60), (20, 40, 220)])
def test_colours_come_back_through_hevc_as_they_were(colour: tuple[int, int, int]) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
    decoded = HevcIntra(4).decode(HevcIntra(4).encode(flat), WIDTH, HEIGHT)
    assert np.abs(decoded.astype(int) - flat).max() <= 2


def test_hevc_counts_an_elementary_stream_of_parameter_sets_and_one_picture(picture: Picture) -> None:
    coded = HevcIntra(40).encode(picture)
    units = [(part[0] >> 1) & 0x3F for part in coded.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]
    assert units == [32, 33, 34, 20]  # VPS, SPS, PPS, IDR without leading pictures; no message with the settings


def test_the_source_costs_24_bits_a_pixel(picture: Picture) -> None:
    coded = Source().encode(picture)
    assert len(coded) == 3 * WIDTH * HEIGHT
    assert np.array_equal(Source().decode(coded, WIDTH, HEIGHT), picture)


def test_codecs_that_may_give_other_bits_or_pixels_are_kept_under_other_names(bundle: Bundle) -> None:
    codecs = [codec for pair in pairs(bundle) for codec in pair]
    assert len({codec.key for codec in codecs}) == len(codecs)
    assert all(Path(codec.key).name == codec.key for codec in codecs)


def test_a_vvc_stream_is_seen_as_it_was_coded() -> None:
    """The stream is one that VVenC made of this ramp; the encoder itself comes from no package registry."""
    rows, columns = np.mgrid[:45, :63]
    ramp = np.stack([4 * columns, 5 * rows, 200 - 2 * rows - columns], -1).clip(0, 255).astype(np.uint8)
    coded = base64.b64decode(
        "AAAAAQB5AA2CEIAAgIIMfSoD6bdMjSKTecJsrGCBBOCr/0uy/zkCAAAAAQCBAABBBiJgM+wIAAABAEHEASAFeA97X1tU1ba2xwYfsFrqz5bbzf0i"
        "nbzYBis+Vm7sLaBvE9Vn9IWe"
    )
    decoded = VvcIntra(40, Path("vvencapp")).decode(coded, 63, 45)
    assert decoded.shape == ramp.shape
    assert peak_ratio(ramp, decoded) > 37


def test_a_missing_vvc_encoder_is_named(picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path / "vvencapp")):
        VvcIntra(37, tmp_path / "vvencapp").encode(picture)
