"""What Pillow's and ffmpeg's viewers show of a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from icm.errors import ConfigError
from icm_bench.inputs.cases import Picture

_UNPACKED = Path(".cache/tools/usr")
"""Where ``make test`` unpacks Debian's ffmpeg."""
SECONDS = 20
_SQUARE = "scale=w='max(1,round(iw*if(gt(sar,0),sar,1)))':h=ih:flags=bilinear,setsar=1"


@dataclass(frozen=True)
class Judged:
    """What is shown.

    Attributes:
        times: in seconds from the first picture, where they count.
    """

    pictures: list[Picture]
    times: list[float] | None


def pillow(path: Path) -> Judged:
    """The pictures of a file as Pillow shows them, over white."""
    pictures = []
    # Of a path Pillow 13 maps an uncompressed TIFF into memory, and then does not turn it.
    with Image.open(BytesIO(path.read_bytes())) as image:
        for frame in ImageSequence.Iterator(image):
            upright = ImageOps.exif_transpose(frame)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                under = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(under, upright)
            if upright.mode.startswith("I;16"):
                pictures.append(np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[:, :, None], 3, 2))
            else:
                pictures.append(np.asarray(upright.convert("RGB")))
    return Judged(pictures, None)


class Ffmpeg:
    """The command of that name: installed, or unpacked beside the project.

    Raises:
        ConfigError: there is none.
    """

    def __init__(self) -> None:
        program = shutil.which("ffmpeg") or shutil.which("ffmpeg", path=_UNPACKED / "bin")
        if program is None:
            raise ConfigError("there is no ffmpeg to judge by: install it, or let `make tools` unpack it")
        self._program = str(Path(program).absolute())
        libraries = next(_UNPACKED.absolute().glob("lib/*-linux-gnu"), None)
        self._environment = dict(os.environ)
        if libraries is not None:
            places = [libraries, *(libraries / name for name in ("blas", "lapack", "pulseaudio"))]
            self._environment["LD_LIBRARY_PATH"] = ":".join(map(str, places))

    def run(self, *arguments: str | Path) -> None:
        """Runs it; raises CalledProcessError if it cannot do that."""
        command = [self._program, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
        subprocess.run(command, env=self._environment, check=True, capture_output=True, timeout=SECONDS)

    def shows(self, path: Path) -> Judged:
        """The frames of a video, none where it is of no use to ffmpeg."""
        with TemporaryDirectory() as folder:
            times, pixels = Path(folder, "times"), Path(folder, "pixels")
            try:
                passed: list[str | Path] = [
                    "-an",
                    "-sn",
                    "-dn",
                    "-fps_mode",
                    "passthrough",
                    "-enc_time_base",
                    "-1",
                    "-vf",
                    _SQUARE,
                ]
                passed += ["-c:v", "rawvideo", "-pix_fmt", "rgba"]
                self.run("-i", f"file:{path}", *passed, "-f", "framecrc", times, *passed, "-f", "rawvideo", pixels)
            except subprocess.CalledProcessError:
                pass
            return _listed(times, pixels)


def _listed(times: Path, pixels: Path) -> Judged:
    if not times.exists() or not pixels.exists() or not pixels.stat().st_size:
        return Judged([], [])
    unit, width, height, stamps = Fraction(1), 0, 0, []
    for line in times.read_text().splitlines():
        if line.startswith("#tb"):
            unit = Fraction(line.split()[-1])
        elif line.startswith("#dimensions"):
            width, height = map(int, line.split()[-1].split("x"))
        elif not line.startswith("#"):
            stamps.append(int(line.split(",")[2]))
    layered = np.fromfile(pixels, np.uint8).reshape(-1, height, width, 4)
    alpha = layered[..., 3:].astype(np.uint16)
    shown = ((layered[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return Judged(list(shown), [float((stamp - stamps[0]) * unit) for stamp in stamps])
