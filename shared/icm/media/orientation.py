"""Pictures as people see them: upright, with square pixels, opaque, in 8-bit RGB.

Every picture and every video frame of the project comes by here, and nowhere else is it decided. Pictures are as
Pillow's viewers show them, frames of videos as ffmpeg's do:

- turned and mirrored as EXIF or XMP say (pictures) or the display matrix (videos);
- a video's pixels that are not square become so: its rows stay, its columns get more or fewer. What a picture says of
  its density is about paper and left alone;
- what is transparent shows white;
- grey levels of more than 8 bits keep their brightness: 16 bits are divided by 256; whole numbers and floats of no
  stated range are taken for 0..1 (floats), 0..255 or 0..65535, whichever holds them all, or else stretched to fit.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import ExifTags, Image

from icm.codec.bitstream.record import MAX_PIXELS, MAX_SIDE

BACKGROUND = (255, 255, 255)
"""What is seen through transparent pixels."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's number for the orientation."""
_LAYERED = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
"""How transparent frames are converted. FFmpeg's quicker way leaves the alpha of the last columns unset where the width
is no multiple of 8."""
_SIDE_DATA_KINDS = 40
"""More than FFmpeg has."""


def shown_picture(image: Image.Image) -> NDArray[np.uint8]:
    """The picture that Pillow opened, or the one of several that it stands at, as uint8[H, W, 3] RGB.

    Raises whatever Pillow's parsers run into where the file is damaged.
    """
    image.load()
    sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    turn = _turn(image)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in ("I", "F") or sixteen_bits:
        return _opaque_grey(image, sixteen_bits)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    # Pillow takes the alpha off a premultiplied grey picture unless it is told this step.
    layered = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    under = Image.new("RGBA", layered.size, (*BACKGROUND, 255))
    return np.asarray(Image.alpha_composite(under, layered).convert("RGB"))


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Of damaged metadata viewers take no notice; what it makes Pillow raise is no complete list.
        return None


def _opaque_grey(image: Image.Image, sixteen_bits: bool) -> NDArray[np.uint8]:
    values = np.asarray(image)
    levels = values >> 8 if sixteen_bits else _levels(np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0))
    grey = levels.clip(0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(BACKGROUND[0]), grey)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of no stated range as grey levels."""
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.floor(values)).all())
    if low < 0 or high > 65_535:
        levels = (values - low) * (255 / max(high - low, 1e-300))
    elif high > 255:
        levels = np.floor(values / 256)
    else:
        # One among whole numbers is nearly black; among fractions it is white.
        levels = values if whole or high > 1 else values * 255
    return levels.round()


class ShownFrames:
    """Turns a video stream's frames into what ffmpeg's viewers show of them."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._to_rgb = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The frame as uint8[H, W, 3] RGB. No larger than a coded picture may be if the frame itself is not."""
        (a, b), (c, d) = _display_matrix(frame)
        degrees = math.degrees(math.atan2(-b, a))
        slanted = abs(degrees - 90 * round(degrees / 90)) >= 1
        quarter = abs(b) > abs(a) and not slanted
        width, height = self._square(frame, quarter)
        palette = frame.format.name == "pal8"
        if palette or any(component.is_alpha for component in frame.format.components):
            layered = self._to_rgb.reformat(frame, width, height, "rgba", interpolation=_LAYERED).to_ndarray()
            alpha = layered[:, :, 3:].astype(np.uint16)
            over = layered[:, :, :3] * alpha + np.array(BACKGROUND, np.uint16) * (255 - alpha)
            picture = ((over + 127) // 255).astype(np.uint8)
        else:
            picture = np.asarray(self._to_rgb.reformat(frame, width, height, "rgb24").to_ndarray(), np.uint8)
        if slanted:
            # As ffmpeg: within the frame's own size, corners cut, what is bared is black.
            return np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BILINEAR), np.uint8)
        if quarter:
            picture = picture.transpose(1, 0, 2)
        down, across = (b, c) if quarter else (d, a)
        return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])

    def _square(self, frame: VideoFrame, quarter: bool) -> tuple[int, int]:
        """Width and height in square pixels, before the frame is turned."""
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        if not aspect or aspect == 1:
            return frame.width, frame.height
        if quarter:
            height, width = square_size(frame.height, frame.width, 1 / aspect)
        else:
            width, height = square_size(frame.width, frame.height, aspect)
        return width, height


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Size in square pixels of a picture whose pixels are ``aspect`` times as wide as high.

    The height stays, unless the picture would grow too large for the codec: then the width does.
    """
    across = max(1, round(width * aspect))
    if aspect > 1 and (across > MAX_SIDE or across * height > MAX_PIXELS):
        return width, max(1, round(height / aspect))
    return across, height


def _display_matrix(frame: VideoFrame) -> tuple[tuple[int, int], tuple[int, int]]:
    """How a frame lies in space: a pixel at (x, y) is shown at (a x + c y, b x + d y), up to a shift."""
    try:
        kinds = frame.side_data
    except ValueError:
        # PyAV cannot list side data of which one is of a kind that it has no name for, such as EXIF's.
        kinds = _without_unnamed(frame).side_data
    matrix = kinds.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return (1, 0), (0, 1)
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return (a, b), (c, d)


def _without_unnamed(frame: VideoFrame) -> VideoFrame:
    """The frame without the side data that PyAV has no name for."""
    named: set[Any] = {kind.value for kind in Type}
    graph = Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    for kind in range(_SIDE_DATA_KINDS):
        if kind not in named:
            step = graph.add("sidedata", f"mode=delete:type={kind}")
            last.link_to(step)
            last = step
    last.link_to(sink := graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    shown = sink.pull()
    assert isinstance(shown, VideoFrame)
    return shown
