"""``icm-bench sheet``: crops of originals beside JPEG, AVIF and ours before and after finetuning, at equal bits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import ImageError
from icm.media.pictures import picture_bytes, read_picture
from icm.media.video_files import VIDEOS, open_video
from icm_bench.accuracy.measurement import peak_ratio
from icm_bench.accuracy.picture_codecs.base import Picture, PictureCodec
from icm_bench.accuracy.picture_codecs.files import FileCodec
from icm_bench.accuracy.picture_codecs.ours import UNFINETUNED, OurCodec

CROP = 160
"""Pixels a side of what is shown of a picture, twice enlarged."""
_ZOOM, _LABEL, _GAP = 2, 36, 6


@dataclass(frozen=True)
class Shown:
    """One cell: what it is, what its whole picture costs in bits per pixel, and that picture."""

    title: str
    bpp: float
    picture: Picture


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench sheet", description=__doc__)
    parser.add_argument("pictures", nargs="+", metavar="FILE[@FRAME]", help="pictures, and frames of videos from 0")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--level", type=float, default=2.0, help="our quality level; a low one shows more")
    parser.add_argument("--sheet", type=Path, default=Path("docs/images/sheet.jpg"))
    options = parser.parse_args(arguments)
    bundle = Bundle.load(options.bundle)
    rows = []
    for name in options.pictures:
        image = read(name)
        cells = row_of(image, bundle, options.level)
        top, left = hardest_window(image, cells[3].picture)
        rows.append(np.hstack([_cell(cell, image, top, left) for cell in cells]))
    options.sheet.write_bytes(picture_bytes(np.vstack(rows), options.sheet.suffix))
    print(f"written to {options.sheet}")
    return 0


def read(name: str) -> Picture:
    """A picture file, or a frame of a video as ``FILE@FRAME``.

    Raises:
        ImageError: there is no such file or frame, or it is smaller than a crop.
    """
    file, _, frame = name.partition("@")
    path = Path(file)
    image = _frame(path, int(frame or 0)) if path.suffix.lower() in VIDEOS else read_picture(path)
    if min(image.shape[:2]) < CROP:
        raise ImageError(f"{name} is {image.shape[1]}x{image.shape[0]}, smaller than a crop of {CROP} pixels")
    return image


def _frame(path: Path, number: int) -> Picture:
    with open_video(path, print, print) as (_, frames):
        for count, (_, image) in enumerate(frames):
            if count == number:
                return image
    raise ImageError(f"{path} has no frame {number}")


def row_of(image: Picture, bundle: Bundle, level: float) -> list[Shown]:
    """Original, JPEG, AVIF, ours before finetuning (ours, where the bundle has no such decoder), ours."""
    before = UNFINETUNED if (bundle.folder / UNFINETUNED).exists() else "decoder.onnx"
    ours = [
        _shown(title, OurCodec(title, bundle, level, network), image)
        for title, network in ((f"{bundle.name} before finetuning", before), (bundle.name, "decoder.onnx"))
    ]
    anchors = [_shown(name, at_most(name, image, ours[0].bpp), image) for name in ("JPEG", "AVIF")]
    return [Shown("original", 24.0, image), *anchors, *ours]


def at_most(name: str, image: Picture, bpp: float) -> FileCodec:
    """The best quality of a file format that takes no more bits; its worst where even that takes more."""
    low, high = 0, 95
    while low < high:
        middle = (low + high + 1) // 2
        if _bits(FileCodec(name, middle).encode(image), image) <= bpp:
            low = middle
        else:
            high = middle - 1
    return FileCodec(name, low)


def hardest_window(image: Picture, decoded: Picture) -> tuple[int, int]:
    """Top and left of the crop in which a decoded picture is farthest from its original; a multiple of 16 pixels."""
    error = np.square(decoded.astype(np.float64) - image).sum(2)
    total = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[CROP:, CROP:] - total[:-CROP, CROP:] - total[CROP:, :-CROP] + total[:-CROP, :-CROP]
    best = sums[::16, ::16]
    row, column = np.unravel_index(int(best.argmax()), best.shape)
    return int(row) * 16, int(column) * 16


def _shown(title: str, codec: PictureCodec, image: Picture) -> Shown:
    height, width = image.shape[:2]
    coded = codec.encode(image)
    return Shown(title, _bits(coded, image), codec.decode(coded, width, height))


def _bits(coded: bytes, image: Picture) -> float:
    return 8 * len(coded) / (image.shape[0] * image.shape[1])


def _cell(cell: Shown, original: Picture, top: int, left: int) -> NDArray[np.uint8]:
    side = CROP * _ZOOM
    crop = Image.fromarray(np.ascontiguousarray(cell.picture[top : top + CROP, left : left + CROP]))
    canvas = Image.new("RGB", (side + _GAP, side + _LABEL + _GAP), "white")
    canvas.paste(crop.resize((side, side), Image.Resampling.NEAREST), (0, _LABEL))
    cost = (
        "uncompressed"
        if cell.picture is original
        else f"{cell.bpp:.3f} bpp, {peak_ratio(original, cell.picture):.1f} dB"
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    draw.text((2, 1), cell.title, "black", font)
    draw.text((2, 17), cost, "dimgrey", font)
    return np.asarray(canvas)
