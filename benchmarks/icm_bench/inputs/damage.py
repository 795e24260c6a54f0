"""Files that were hit: bytes changed, the end or a piece gone, zeros in the middle, something glued behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from icm_bench.inputs.cases import Case
from icm_bench.inputs.judges import pillow
from icm_bench.inputs.videos import scenes, write

PICTURES = {
    "png": "PNG",
    "jpg": "JPEG",
    "gif": "GIF",
    "webp": "WEBP",
    "tif": "TIFF",
    "bmp": "BMP",
    "avif": "AVIF",
    "jp2": "JPEG2000",
    "ppm": "PPM",
    "tga": "TGA",
}
SEVERAL = {"png": "PNG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "avif": "AVIF"}
VIDEOS = {
    "mp4": ("libx264", "yuv420p"),
    "mkv": ("libx264", "yuv420p"),
    "ts": ("libx264", "yuv420p"),
    "avi": ("mjpeg", "yuvj420p"),
    "mov": ("mjpeg", "yuvj420p"),
    "flv": ("libx264", "yuv420p"),
    "mpg": ("mpeg2video", "yuv420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "h264": ("libx264", "yuv420p"),
    "mjpeg": ("mjpeg", "yuvj420p"),
    "hevc": ("libx265", "yuv420p"),
    "nut": ("ffv1", "yuv420p"),
    "m4v": ("mpeg4", "yuv420p"),
    "m2ts": ("libx265", "yuv420p"),
}


_UNTOLD = {".flv", ".h264", ".hevc", ".mjpeg", ".m4v", ".mpg", ".nut", ".webp", ".avif"}
"""Of which a piece may be gone, whole frames with it, while all that is left fits together."""


def flipped(data: bytes, dice: random.Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 3, 20])):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(data: bytes, dice: random.Random) -> bytes:
    """The end is missing."""
    return data[: max(1, round(dice.random() * len(data)))]


def zeroed(data: bytes, dice: random.Random) -> bytes:
    """A stretch is zeros, as where a disk failed."""
    start = dice.randrange(len(data))
    length = min(dice.choice([16, 512, 4096]), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def gap(data: bytes, dice: random.Random) -> bytes:
    """A piece is missing."""
    length = min(dice.choice([1, 188, 1000]), len(data) // 3)
    start = dice.randrange(len(data) - 2 * length)
    return data[:start] + data[start + length :]


def junk_behind(data: bytes, dice: random.Random) -> bytes:
    """Something stands behind."""
    return data + dice.choice([bytes(5000), dice.randbytes(3000), b"words\n" * 200])


def junk_before(data: bytes, dice: random.Random) -> bytes:
    """Something stands before."""
    return dice.choice([bytes(3), dice.randbytes(300), b"\n", b"\xef\xbb\xbf"]) + data


def doubled(data: bytes, dice: random.Random) -> bytes:
    """The file stands twice in it."""
    return data + data


DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [flipped, cut, zeroed, gap, junk_behind, junk_before, doubled]


def pictures(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Pictures and animations."""
    for index in range(count):
        several = dice.random() < 0.4
        ending, format = dice.choice(list((SEVERAL if several else PICTURES).items()))
        path = folder / f"{index}.{ending}"
        frames = [Image.fromarray(picture) for picture in scenes(dice, dice.randint(2, 5) if several else 1)]
        options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]} if several else {}
        if format == "JPEG" and dice.random() < 0.4:
            options["progressive"] = True
        if format == "TIFF":
            options["compression"] = dice.choice([None, "tiff_lzw", "tiff_adobe_deflate"])
        frames[0].save(path, format, **options)
        yield _hit(dice, path, len(frames), "pillow", "damaged pictures")


def videos(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Videos."""
    for index in range(count):
        ending, (codec, pix_fmt) = dice.choice(list(VIDEOS.items()))
        rate = 25 if codec == "mpeg2video" else 10
        path = write(
            folder / f"{index}.{ending}",
            scenes(dice, 12),
            codec,
            pix_fmt,
            rate,
            b_frames=dice.choice([0, 2]),
            options={"movflags": "faststart"} if ending in ("mp4", "mov") and dice.random() < 0.6 else {},
        )
        yield _hit(dice, path, 12, "ffmpeg", "damaged videos")


def _hit(dice: random.Random, path: Path, whole: int, judge: Literal["pillow", "ffmpeg"], kind: str) -> Case:
    damage = dice.choice(DAMAGES)
    data = path.read_bytes()
    before = tuple(pillow(path).pictures) if path.suffix == ".png" else None
    path.write_bytes(damage(data, dice))
    raw = path.suffix in _UNTOLD
    return Case(kind, f"{damage.__name__} {path.suffix}", path, judge, whole=whole, told_by_nothing=raw, before=before)
