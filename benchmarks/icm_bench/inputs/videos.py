"""Files of videos: turned, of every pixel shape, colour and codec, at times of every sort, of several streams."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from icm_bench.inputs.cases import Case, Picture, scene, size

FRAMES = 8
Stamp = Callable[[int, Any], None]
"""Changes the stamps of a packet, told its number."""


def write(
    path: Path,
    pictures: Sequence[Picture],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 10,
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    b_frames: int = 0,
    aspect: Fraction | None = None,
    turn: dict[str, Any] | None = None,
    matrix: Colorspace | None = None,
    range: ColorRange | None = None,
    times: Sequence[int] | None = None,
    unit: Fraction | None = None,
    stamp: Stamp | None = None,
    bad: Sequence[int] = (),
) -> Path:
    """A video file in the format of its ending.

    Args:
        range: of the levels, full or limited.
        times: of showing, in units; None for an even pace.
        stamp: changes packets' stamps before they are written.
        bad: packets that are made garbage.
    """
    settings = {
        "libx264": {"x264-params": f"bframes={b_frames}:b-adapt=0:keyint=5:threads=1:log=-1", "qp": "10"},
        "libx265": {"x265-params": f"bframes={b_frames}:keyint=5:pools=none:frame-threads=1:log-level=none:qp=10"},
        "mpeg4": {"qscale": "2"},
        "libvpx-vp9": {"cpu-used": "8", "crf": "10", "b": "0"},
    }.get(codec, {})
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(settings))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        if codec in ("mpeg4", "mpeg2video", "mpeg1video"):
            context.max_b_frames = b_frames
            context.gop_size = 5
        if codec in ("mjpeg", "mpeg4", "mpeg2video", "mpeg1video", "h263", "flv"):
            context.bit_rate = 4_000_000
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if matrix is not None:
            context.colorspace = int(matrix)
        if range is not None:
            context.color_range = int(range)
        if turn:
            stream.set_display_rotation(**turn)
        if unit is not None:
            context.time_base = unit
        count = 0
        for number, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(
                np.ascontiguousarray(picture), format="rgba" if picture.shape[2] == 4 else "rgb24"
            ).reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=range)
            frame.pts, frame.time_base = number if times is None else times[number], unit or 1 / Fraction(rate)
            for packet in stream.encode(frame):
                container.mux(_changed(packet, count, stamp, bad))
                count += 1
        for packet in stream.encode(None):
            container.mux(_changed(packet, count, stamp, bad))
            count += 1
    return path


def _changed(packet: Packet[Any], number: int, stamp: Stamp | None, bad: Sequence[int]) -> Packet[Any]:
    if stamp is not None:
        stamp(number, packet)
    if number not in bad:
        return packet
    garbage: Packet[Any] = Packet(bytes(range(1, 200)))
    garbage.stream, garbage.time_base = packet.stream, packet.time_base
    garbage.pts, garbage.dts, garbage.duration = packet.pts, packet.dts, packet.duration
    return garbage


def scenes(dice: random.Random, count: int = FRAMES, shape: tuple[int, int] | None = None) -> list[Picture]:
    """Pictures that follow each other."""
    state, (width, height) = dice.getstate(), shape or size(dice)
    pictures = []
    for number in range(count):
        dice.setstate(state)
        pictures.append(scene(dice, width, height, number))
    dice.random()
    return pictures


def turned(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Display matrices in all containers that have them, beside pixels that are not square."""
    for index in range(count):
        ending = dice.choice(["mp4", "mov", "mkv", "m4v", "3gp"])
        degrees = dice.choice([0, 90, 180, 270, 90, 180, 270])
        mirror = dice.choice(["", "", "hflip", "vflip"]) if ending not in ("mkv",) else ""
        aspect = dice.choice([None, None, Fraction(4, 3), Fraction(8, 9)])
        turn: dict[str, Any] = {"degrees": degrees, "hflip": mirror == "hflip", "vflip": mirror == "vflip"}
        path = write(folder / f"{index}.{ending}", scenes(dice, 3), aspect=aspect, turn=turn)
        yield Case("orientation of videos", f"{ending} {degrees} {mirror} pixels {aspect}", path, "ffmpeg")


def aspects(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Pixels that are not square, said by the codec, by the container, or by both."""
    for index in range(count):
        codec, ending, pix_fmt = dice.choice(
            [
                ("libx264", "mp4", "yuv420p"),
                ("libx264", "mkv", "yuv420p"),
                ("libx264", "h264", "yuv420p"),
                ("libx264", "ts", "yuv420p"),
                ("mpeg4", "avi", "yuv420p"),
                ("mpeg2video", "mpg", "yuv420p"),
                ("libx265", "mp4", "yuv420p"),
                ("mjpeg", "mov", "yuvj420p"),
                ("ffv1", "mkv", "yuv420p"),
                ("prores_ks", "mov", "yuv422p10le"),
                ("libvpx-vp9", "webm", "yuv420p"),
                ("mpeg4", "mp4", "yuv420p"),
                ("libx265", "ts", "yuv420p"),
                ("wrapped_avframe", "y4m", "yuv420p"),
                ("dvvideo", "dv", "yuv420p"),
                ("dvvideo", "avi", "yuv420p"),
            ]
        )
        aspect = dice.choice(
            [Fraction(16, 15), Fraction(64, 45), Fraction(4, 3), Fraction(1, 2), Fraction(3, 1), Fraction(40, 33)]
        )
        shape = (720, 576) if codec == "dvvideo" else None
        path = write(folder / f"{index}.{ending}", scenes(dice, 3, shape), codec, pix_fmt, 25, aspect=aspect)
        yield Case("shape of pixels", f"{codec} in {ending}, {aspect}", path, "ffmpeg")


COLOURS = {
    "libx264": [
        "yuv420p",
        "yuvj420p",
        "yuv422p",
        "yuv444p",
        "yuv420p10le",
        "yuv422p10le",
        "yuv444p10le",
        "gray",
        "nv12",
        "gray10le",
    ],
    "libx264rgb": ["rgb24", "bgr24", "bgr0"],
    "libx265": ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv420p12le", "gbrp", "gbrp10le", "gray"],
    "ffv1": [
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv410p",
        "yuv411p",
        "yuv420p10le",
        "yuv420p16le",
        "gray",
        "gray16le",
        "ya8",
        "bgr0",
        "bgra",
        "yuva420p",
        "yuva444p",
        "gbrp16le",
        "rgb48le",
        "rgba64le",
        "yuv440p",
    ],
    "mjpeg": ["yuvj420p", "yuvj422p", "yuvj444p"],
    "mpeg4": ["yuv420p"],
    "mpeg2video": ["yuv420p", "yuv422p"],
    "prores_ks": ["yuv422p10le", "yuv444p10le", "yuva444p10le"],
    "libvpx-vp9": ["yuv420p", "yuv422p", "yuv444p", "gbrp", "yuva420p"],
    "utvideo": ["yuv420p", "yuv422p", "gbrp", "gbrap"],
    "huffyuv": ["yuv422p", "rgb24", "bgra"],
    "ffvhuff": ["yuv420p", "yuva420p", "gray16le", "gbrp"],
    "png": ["rgb24", "rgba", "gray", "gray16be", "rgb48be", "rgba64be", "ya8", "monob"],
    "rawvideo": [
        "rgb24",
        "bgr24",
        "yuyv422",
        "uyvy422",
        "yuv420p",
        "nv12",
        "rgb555le",
        "rgb565le",
        "gray",
        "rgba",
        "yuv444p",
    ],
    "qtrle": ["rgb24", "argb", "rgb555be", "gray"],
    "v210": ["yuv422p10le"],
    "r210": ["gbrp10le"],
    "msvideo1": ["rgb555le"],
    "zmbv": ["bgr0", "rgb565le"],
    "flashsv": ["bgr24"],
    "svq1": ["yuv410p"],
    "wmv2": ["yuv420p"],
    "magicyuv": ["yuv420p", "gbrp", "gbrap", "gray"],
    "snow": ["yuv420p", "yuv444p"],
}
_HOMES = {
    "prores_ks": "mov",
    "qtrle": "mov",
    "r210": "mov",
    "v210": "mov",
    "msvideo1": "avi",
    "zmbv": "avi",
    "flashsv": "flv",
    "svq1": "mov",
    "wmv2": "asf",
    "rawvideo": "nut",
    "mpeg2video": "ts",
    "huffyuv": "avi",
    "png": "mov",
    "magicyuv": "avi",
    "snow": "nut",
    "libvpx-vp9": "webm",
    "utvideo": "avi",
    "ffvhuff": "avi",
}


def colours(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Every codec's kinds of pixels, in the matrices and ranges of today's cameras, said or not."""
    combinations = [(codec, pix_fmt) for codec, kinds in COLOURS.items() for pix_fmt in kinds]
    for index in range(count):
        codec, pix_fmt = combinations[index % len(combinations)]
        matrix = dice.choice([None, Colorspace.ITU601, Colorspace.ITU709, Colorspace.BT2020])
        range_ = dice.choice([None, ColorRange.MPEG, ColorRange.JPEG])
        if codec == "libvpx-vp9" or not pix_fmt.startswith(("yuv4", "nv12")):
            matrix = range_ = None
        if pix_fmt.startswith("yuvj"):
            range_ = ColorRange.JPEG
        ending = _HOMES.get(codec, dice.choice(["mkv", "mkv", "mp4" if codec in ("libx264", "libx265") else "mkv"]))
        # Old codecs take no other sizes.
        pictures = scenes(dice, 3, (4 * dice.randint(10, 30), 4 * dice.randint(8, 25)))
        if any(word in pix_fmt for word in ("yuva", "rgba", "bgra", "gbrap", "argb", "ya8")):
            pictures = [
                np.dstack(
                    [picture, np.linspace(0, 255, picture[..., 0].size).reshape(picture.shape[:2]).astype(np.uint8)]
                )
                for picture in pictures
            ]
        what = f"{codec} {pix_fmt} in {ending}, {matrix and matrix.name} {range_ and range_.name}"
        path = write(folder / f"{index}.{ending}", pictures, codec, pix_fmt, 25, matrix=matrix, range=range_)
        yield Case("colour of videos", what, path, "ffmpeg")
