"""Files of pictures, in any format that Pillow reads; one that holds several gives them all."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icm.codec.bitstream.record import MAX_PIXELS, check_size
from icm.errors import ImageError, RecordError
from icm.media import gif, jpeg, tiff
from icm.media.orientation import shown_picture

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
"""Endings of picture files that can be written."""

_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}
"""Formats that Pillow knows, and cannot read without another program."""
READABLE = {
    suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in _NOT_READ
}
"""Endings of picture files that can be read."""
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 1 << 16
"""Chunks that a PNG may have; each is looked at before a pixel is decoded."""
_PIXEL_CHUNKS = {b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT"}
_LAYERED = {"PSD"}
"""Formats whose further pictures are parts of the first, which is the one that viewers show."""
_ANIMATED = {"AVIF", "FLI", "GIF", "PNG", "WEBP"}
"""Formats whose pictures follow each other in time, not as pages."""
_SUBFILE_TYPE, _BESIDE = 254, 0b101
"""TIFF's tag that says what a page is, and its bits for a preview or a mask of another page."""
_MOST_BESIDE = 64
"""Pictures in a JPEG of several; each is looked at to tell photos from previews."""
_MOST_DAMAGED_IN_A_ROW = 100
_PAGE_US, _FRAME_US, _SHORTEST_GIF_MS = 1_000_000, 100_000, 20
"""How long a page without a time is shown; a frame that is said to be shown for no time; what GIF players take for
that."""

tiff.silence()
# Our own bound on pixels takes the place of Pillow's, which is looser and partly a mere warning.
Image.MAX_IMAGE_PIXELS = None
# Damaged metadata, mostly. What matters is an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class PictureFile:
    """An open file of pictures; none is decoded before its size is known.

    Attributes:
        count: how many pictures it holds.
        left_out: how many more it holds that viewers do not show beside the first, such as a photo's preview.
    """

    def __init__(
        self, file: BinaryIO, name: str, formats: tuple[str, ...] | None = None, most_pixels: int = MAX_PIXELS
    ) -> None:
        """Opens a file of pictures.

        Args:
            name: what errors call the file.
            formats: that are taken, by Pillow's names; None for all.
            most_pixels: that a picture may have.

        Raises:
            ImageError: it is no such file, takes too much work, or its first picture is too large.
        """
        self._name, self._most_pixels = name, most_pixels
        self._damage: str | None = None
        self._endless = self._checked(file)
        file.seek(0)
        try:
            self._image = Image.open(file, formats=formats)
        except Exception:
            # Pillow raises whatever its parsers run into; for damaged or hostile bytes no list of types is complete.
            kinds = " or ".join(formats) + " picture" if formats else "picture that Pillow can read"
            raise ImageError(f"{name} is no {kinds}, or is cut off at its start") from None
        self._format = self._image.format or ""
        self._check_size()
        self._cut_off = self._format == "GIF" and not gif.has_end(file)
        self._places = self._shown_places()
        self.count = len(self._places)
        self.left_out = self._count() - self.count if self._format == "MPO" else 0
        self._came = 0
        self._first_damage: str | None = None

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Each picture's time in microseconds from the first one, and uint8[H, W, 3] RGB.

        Raises:
            ImageError: no picture can be read, or they differ in size.
        """
        time_us, size, in_a_row = 0, None, 0
        for number, place in enumerate(self._places, start=1):
            try:
                if self.count > 1:  # some formats of one picture cannot seek even to that
                    self._image.seek(place)
                self._check_size()
                picture = self._shown()
            except ImageError:
                raise
            except Exception as error:
                self._first_damage = self._first_damage or (f"number {number}: " * (self.count > 1) + str(error))
                in_a_row += 1
                # A file may say that it holds billions.
                if in_a_row == _MOST_DAMAGED_IN_A_ROW:
                    break
                continue
            in_a_row, self._came, size = 0, self._came + 1, size or picture.shape
            if size != picture.shape:
                raise ImageError(
                    f"{self._name} holds {self.count} pictures of several sizes: number {number} is"
                    f" {_sides(picture.shape)}, those before are {_sides(size)}; make a file of each"
                )
            yield time_us, picture
            time_us += self._shown_us()
        if not self._came:
            raise ImageError(f"{self._name} is cut off or damaged: {self._first_damage}")

    def shortfall(self) -> str | None:
        """After the last picture: what is missing of those that the file says it holds; None if nothing is."""
        if self._first_damage is not None:
            return f"{self.count - self._came} of its {self.count} pictures cannot be read; {self._first_damage}"
        return f"its end is missing after {self.count} pictures" if self._cut_off else self._damage

    def _checked(self, file: BinaryIO) -> bytes | None:
        """The file if it is a JPEG whose end may be all that is missing; raises ImageError if it is too much work."""
        start = file.read(len(_PNG))
        file.seek(0)
        if start == _PNG:
            self._check_chunks(file)
        if not start.startswith(jpeg.START):
            return None
        content = file.read()
        markers = jpeg.Markers(content)
        if markers.too_much:
            raise ImageError(f"{self._name} has {markers.too_much}, which would take long to decode: save it anew")
        if markers.followed_by_frames():
            raise ImageError(f"{self._name} is a video of JPEG pictures, not one")
        return content if markers.end is None and markers.has_all_scans() else None

    def _check_chunks(self, file: BinaryIO) -> None:
        at = len(_PNG)
        for _ in range(_MOST_CHUNKS):
            file.seek(at)
            head = file.read(8)
            if len(head) < 8:
                return
            length, kind = int.from_bytes(head[:4]), head[4:8]
            # Of what else there is viewers take no notice; and Pillow does not look at these checksums.
            if kind in _PIXEL_CHUNKS and self._damage is None:
                content = file.read(length + 4)
                if zlib.crc32(content[:-4], zlib.crc32(kind)) != int.from_bytes(content[-4:]):
                    self._damage = f"its part {kind.decode()} at byte {at} is damaged"
            at += 8 + length + 4
        raise ImageError(f"{self._name} has more than {_MOST_CHUNKS} chunks: save it anew")

    def _check_size(self) -> None:
        try:
            check_picture_size(*self._image.size, self._most_pixels)
        except ImageError as error:
            raise ImageError(f"{self._name}: {error}") from None

    def _count(self) -> int:
        """How many pictures the file has, or how many there are up to the damage."""
        image = self._image
        try:
            return int(getattr(image, "n_frames", 1))
        except Exception as error:
            count = 1
            with suppress(Exception):
                while True:
                    image.seek(count)
                    count += 1
            image.seek(0)
            self._damage = f"those after the first {count} cannot be found: {error}"
            return count

    def _shown_places(self) -> Sequence[int]:
        """Where in the file the pictures are that viewers show."""
        image, every = self._image, range(self._count())
        if self._format in _LAYERED:
            return [0]
        if self._format not in ("MPO", "TIFF"):
            return every
        if self._format == "MPO" and len(every) > _MOST_BESIDE:
            raise ImageError(f"{self._name} has {len(every)} pictures beside each other; up to {_MOST_BESIDE} are read")
        first, shown = image.size, []
        for place in every:
            try:
                image.seek(place)
            except Exception:
                shown.append(place)  # and counted as damaged when it is its turn
                continue
            if self._format == "TIFF":
                beside = bool(getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & _BESIDE)
            else:
                # Phones put a preview behind the photo, or what a bright screen adds to it, in other sizes.
                beside = image.size != first
            if place == 0 or not beside:
                shown.append(place)
        image.seek(0)
        return shown

    def _shown(self) -> NDArray[np.uint8]:
        try:
            return shown_picture(self._image)
        except OSError:
            if self._endless is None:
                raise
        # Some cameras leave out the end, which viewers do not miss. If it is all that is missing, then what stands
        # before it makes no difference.
        ended, *longer = (shown_picture(Image.open(BytesIO(data))) for data in jpeg.with_end(self._endless))
        if not all(np.array_equal(ended, other) for other in longer):
            raise OSError("its end is missing")
        return ended

    def _shown_us(self) -> int:
        if self._format not in _ANIMATED:
            return _PAGE_US
        milliseconds: float = self._image.info.get("duration", 0)
        shortest = _SHORTEST_GIF_MS if self._format == "GIF" else 0.001
        return round(1000 * milliseconds) if milliseconds >= shortest else _FRAME_US


@contextmanager
def open_pictures(path: Path, name: str) -> Iterator[PictureFile]:
    """The pictures of a file, which errors call by this name; raises ImageError as ``PictureFile`` does."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"cannot read {name}: {error.strerror}") from None
    with file:
        yield PictureFile(file, name)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The first picture of a file, uint8[H, W, 3] RGB; raises as ``open_pictures`` does."""
    with open_pictures(path, str(path)) as pictures:
        return next(iter(pictures))[1]


def check_picture_size(width: int, height: int, most_pixels: int) -> None:
    """Checks a picture's size.

    Raises:
        ImageError: no picture of this size can be coded, or it has more pixels than are allowed here.
    """
    try:
        check_size(width, height)
    except RecordError as error:
        raise ImageError(str(error)) from None
    if width * height > most_pixels:
        raise ImageError(f"a picture of {width}x{height} has more pixels than max_pixels, {most_pixels}, allows")


def is_picture(path: Path) -> bool:
    """Whether Pillow knows the file for one of pictures; raises OSError if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.format not in _NOT_READ
    except OSError as error:
        if error.errno is not None:
            raise
        return False
    except Exception:
        # Of a format that Pillow knows, but damaged.
        return True


def picture_bytes(image: NDArray[np.uint8], suffix: str) -> bytes:
    """A file of uint8[H, W, 3] RGB in the format that a name with this ending has.

    Raises:
        ImageError: the ending names no format, or the format takes no such picture.
    """
    if suffix.lower() not in PICTURES:
        raise ImageError(f"pictures are not written as {suffix or 'files without an ending'}: name it .png or .jpg")
    file = BytesIO()
    try:
        Image.fromarray(image).save(file, Image.registered_extensions()[suffix.lower()])
    except (OSError, ValueError) as error:
        raise ImageError(f"no picture of {_sides(image.shape)} can be written as {suffix}: {error}") from None
    return file.getvalue()


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
