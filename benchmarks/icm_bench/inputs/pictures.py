"""Files of pictures: turned, of every mode and depth, of several pages or frames, of odd sizes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from icm_bench.inputs.cases import Case, Picture, scene, size

TURNABLE = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "AVIF": ".avif", "MPO": ".jpg"}
_MODES = {
    "1": ("PNG", "TIFF", "BMP", "PPM", "GIF", "PCX"),
    "L": ("PNG", "JPEG", "TIFF", "BMP", "PPM", "TGA", "WEBP", "AVIF", "JPEG2000", "PCX", "SGI", "GIF", "DDS"),
    "LA": ("PNG", "TIFF", "WEBP", "TGA", "JPEG2000", "DDS", "AVIF"),
    "P": ("PNG", "GIF", "TIFF", "BMP", "TGA", "PCX"),
    "RGB": ("PNG", "JPEG", "TIFF", "BMP", "PPM", "TGA", "WEBP", "AVIF", "JPEG2000", "PCX", "SGI", "ICO", "DDS", "QOI"),
    "RGBA": ("PNG", "TIFF", "BMP", "TGA", "WEBP", "AVIF", "JPEG2000", "SGI", "ICO", "DDS", "GIF", "QOI"),
    "CMYK": ("JPEG", "TIFF"),
    "YCbCr": ("JPEG", "TIFF"),
    "LAB": ("TIFF",),
    "I;16": ("PNG", "TIFF", "PPM", "JPEG2000"),
}
_ENDINGS = {
    **TURNABLE,
    "BMP": ".bmp",
    "PPM": ".ppm",
    "TGA": ".tga",
    "GIF": ".gif",
    "PCX": ".pcx",
    "JPEG2000": ".jp2",
    "SGI": ".sgi",
    "ICO": ".ico",
    "DDS": ".dds",
    "QOI": ".qoi",
}


def turned(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """All orientations in all formats that have them, and by each way in which it can be said."""
    combinations = [(format, number) for number in range(1, 9) for format in TURNABLE]
    for index in range(count):
        format, number = combinations[index % len(combinations)]
        exif = Image.Exif()
        if dice.random() < 0.3:
            exif.endian = dice.choice("<>")
        exif[ExifTags.Base.Make] = "camera"
        exif[ExifTags.Base.Orientation] = number
        options: dict[str, Any] = {"exif": exif}
        if format in ("WEBP", "PNG") and dice.random() < 0.3:
            options = {"pnginfo" if format == "PNG" else "xmp": _xmp(number, format)}
        if format == "JPEG" and dice.random() < 0.3:
            options = {"xmp": _xmp(number, "JPEG")}
        path = folder / f"{index}{_ENDINGS[format]}"
        Image.fromarray(scene(dice, *size(dice))).save(path, format, quality=90, **options)
        way = "EXIF" if "exif" in options else "XMP"
        yield Case("orientation of pictures", f"{format} {number} by {way}", path, "pillow")


def _xmp(number: int, format: str) -> Any:
    text = f'<x:xmpmeta><rdf:Description tiff:Orientation="{number}"/></x:xmpmeta>'
    if format != "PNG":
        return text.encode()
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    return info


def modes(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Every mode in every format that Pillow writes it in."""
    combinations = [(mode, format) for mode, formats in _MODES.items() for format in formats]
    for index in range(count):
        mode, format = combinations[index % len(combinations)]
        path = folder / f"{index}{_ENDINGS[format]}"
        picture = scene(dice, *size(dice))
        if format == "ICO":
            picture = scene(dice, 32, 32)
        image = in_mode(dice, picture, mode)
        options: dict[str, Any] = {}
        if mode == "P" and format in ("PNG", "GIF") and dice.random() < 0.6:
            options["transparency"] = dice.randrange(16)
        if mode in ("L", "RGB") and format == "PNG" and dice.random() < 0.3:
            options["transparency"] = 80 if mode == "L" else tuple(int(v) for v in picture[3, 3])
        if format == "TIFF":
            options["compression"] = dice.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
        image.save(path, format, **options)
        truth = np.asarray(Image.fromarray(picture).convert("L").convert("RGB")) if mode == "I;16" else None
        yield Case("colour of pictures", f"{mode} in {format} {options or ''}", path, "pillow", truth=truth)


def in_mode(dice: random.Random, picture: Picture, mode: str) -> Image.Image:
    """The picture in one of Pillow's modes, clear in part where that can be."""
    image = Image.fromarray(picture)
    alpha = Image.fromarray(
        np.linspace(0, 255, picture.shape[0] * picture.shape[1]).reshape(picture.shape[:2]).astype(np.uint8)
    )
    match mode:
        case "P":
            return image.quantize(dice.choice([2, 16, 256]))
        case "PA":
            layered = image.quantize(32)
            layered.putalpha(alpha)
            return layered
        case "RGBA":
            image.putalpha(alpha)
            return image
        case "LA":
            grey = image.convert("L")
            grey.putalpha(alpha)
            return grey
        case "I;16":
            return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        case "LAB":
            srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            done = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
            assert done is not None
            return done
        case _:
            return image.convert(mode)


def depths(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Grey of any depth whose true levels its maker knows."""
    for index in range(count):
        width, height = size(dice)
        ramp = np.linspace(0, 1, width * height).reshape(height, width)
        truth = np.repeat((255 * ramp).round().astype(np.uint8)[:, :, None], 3, 2)
        name, values, format = [
            ("16 bits", (65_535 * ramp).astype(np.uint16), "PNG"),
            ("16 bits", (65_535 * ramp).astype(np.uint16), "TIFF"),
            ("32 bits, 16 used", (65_535 * ramp).astype(np.int32), "TIFF"),
            ("32 bits, 8 used", (255 * ramp).astype(np.int32), "TIFF"),
            ("all of 32 bits", ((2**31 - 1) * ramp).astype(np.int32), "TIFF"),
            ("floats to 1", ramp.astype(np.float32), "TIFF"),
            ("floats to 255", (255 * ramp).astype(np.float32), "TIFF"),
            ("floats around 0", (2 * ramp - 1).astype(np.float32), "TIFF"),
            ("floats to 1", ramp.astype(np.float32), "PPM"),
        ][index % 9]
        path = folder / f"{index}{'.pfm' if name == 'floats to 1' and format == 'PPM' else _ENDINGS[format]}"
        Image.fromarray(np.asarray(values)).save(path, format)
        yield Case("depth of pictures", f"{name} in {format}", path, "pillow", truth=truth)


def several(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Animations of all ways to go from one frame to the next, and pages."""
    makers: list[tuple[str, Callable[[random.Random, Path], str]]] = [
        ("gif", _gif),
        ("png", _apng),
        ("webp", _webp),
        ("tif", _tiff),
        ("avif", _avif),
        ("jpg", _mpo),
    ]
    for index in range(count):
        ending, make = makers[index % len(makers)]
        path = folder / f"{index}.{ending}"
        what = make(dice, path)
        yield Case("several pictures in a file", what, path, "pillow")


def _frames(dice: random.Random, clear: bool = False) -> list[Image.Image]:
    width, height = size(dice)
    frames = [Image.fromarray(scene(dice, width, height, number)) for number in range(dice.randint(2, 6))]
    if clear:
        for number, frame in enumerate(frames):
            alpha = np.full((height, width), 255, np.uint8)
            alpha[(3 * number) % height :: 3] = 0
            frame.putalpha(Image.fromarray(alpha))
    return frames


def _save(frames: list[Image.Image], path: Path, format: str, **options: Any) -> None:
    frames[0].save(path, format, save_all=True, append_images=frames[1:], **options)


def _gif(dice: random.Random, path: Path) -> str:
    frames, disposal = _frames(dice, dice.random() < 0.5), dice.choice([0, 1, 2, 3])
    if dice.random() < 0.5:
        frames = [frame.convert("RGB").quantize(dice.choice([4, 64, 255])) for frame in frames]
    options: dict[str, Any] = {"loop": 0} if dice.random() < 0.5 else {}
    _save(
        frames,
        path,
        "GIF",
        disposal=disposal,
        optimize=dice.random() < 0.5,
        duration=dice.choice([0, 40, 500]),
        **options,
    )
    return f"GIF, disposal {disposal}, {frames[0].mode}"


def _apng(dice: random.Random, path: Path) -> str:
    frames = _frames(dice, dice.random() < 0.5)
    disposal, blend, first = dice.choice([0, 1, 2]), dice.choice([0, 1]), dice.random() < 0.3
    _save(frames, path, "PNG", disposal=disposal, blend=blend, default_image=first, duration=40)
    return f"APNG, disposal {disposal}, blend {blend}, default image {first}, {frames[0].mode}"


def _webp(dice: random.Random, path: Path) -> str:
    frames, lossless = _frames(dice, dice.random() < 0.5), dice.random() < 0.5
    _save(frames, path, "WEBP", lossless=lossless, duration=dice.choice([0, 40]), minimize_size=dice.random() < 0.5)
    return f"WebP, lossless {lossless}, {frames[0].mode}"


def _tiff(dice: random.Random, path: Path) -> str:
    frames = _frames(dice)
    mode = dice.choice(["RGB", "L", "1", "CMYK"])
    compression = dice.choice([None, "tiff_lzw", "jpeg", "tiff_adobe_deflate"]) if mode != "1" else "group4"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = dice.choice([1, 1, 3, 6])
    _save([frame.convert(mode) for frame in frames], path, "TIFF", compression=compression, exif=exif)
    return f"TIFF, {mode}, {compression}, orientation {exif[ExifTags.Base.Orientation]}"


def _avif(dice: random.Random, path: Path) -> str:
    _save(_frames(dice, dice.random() < 0.5), path, "AVIF", speed=10, duration=40)
    return "AVIF"


def _mpo(dice: random.Random, path: Path) -> str:
    _save(_frames(dice)[:2], path, "MPO")
    return "MPO"


def sizes(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """One pixel, one row, one column, odd numbers, long strips."""
    for index in range(count):
        shape = [(1, 1), (1, 77), (93, 1), (2, 2), (3000, 2), (2, 3000), (17, 33), (16383, 3), (7, 5)][index % 9]
        format = dice.choice(["PNG", "BMP", "TIFF", "PPM", "JPEG", "WEBP"])
        path = folder / f"{index}{_ENDINGS[format]}"
        Image.fromarray(scene(dice, *shape)).save(path, format, quality=90)
        yield Case("size of pictures", f"{shape[0]}x{shape[1]} in {format}", path, "pillow")
