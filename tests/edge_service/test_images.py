from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_service.images import read_image
from icm.errors import ImageError


def saved(format: str, mode: str = "RGB") -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, format)
    return file.getvalue()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        read_image(data)


@given(st.sampled_from(["JPEG", "PNG"]), st.data())
def test_a_damaged_file_is_a_picture_or_an_image_error(format: str, data: st.DataObject) -> None:
    file = bytearray(saved(format))
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = file[: data.draw(st.integers(1, len(file)))]
    try:
        image = read_image(bytes(file))
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3


@pytest.mark.parametrize(
    ("format", "mode"),
    [("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "1"), ("JPEG", "L"), ("JPEG", "CMYK")],
)
def test_every_usual_pixel_format_becomes_rgb(format: str, mode: str) -> None:
    assert read_image(saved(format, mode)).shape == (24, 24, 3)


def test_a_png_with_a_bit_that_flipped_is_refused_whether_or_not_pillow_sees_it() -> None:
    data = saved("PNG", "RGB")
    start = data.index(b"IDAT") + 4
    for place in range(start, len(data) - 16):
        with pytest.raises(ImageError):
            read_image(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
