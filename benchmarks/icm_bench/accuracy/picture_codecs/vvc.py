"""VVC intra by VVenC's program ``vvencapp``, which no package registry has: it is built from its public source.

What counts is the bare elementary stream: parameter sets and one coded picture, no container.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from icm.errors import ConfigError
from icm_bench.accuracy.picture_codecs.base import Picture
from icm_bench.accuracy.picture_codecs.planes import decode_stream, to_yuv

QUANTISERS = (47, 42, 37, 32, 27)


class VvcIntra:
    """One intra picture, one quantiser, by default VVenC's preset medium."""

    name, slow_to_encode = "VVC", True

    def __init__(self, quantiser: int, program: Path) -> None:
        """Creates the codec at one quantiser.

        Args:
            quantiser: 0 to 63.
            program: VVenC's vvencapp.
        """
        self.setting, self.key = str(quantiser), f"VVC-{quantiser}"
        self._quantiser, self._program = quantiser, program

    def encode(self, image: Picture) -> bytes:
        """See ``PictureCodec.encode``.

        Raises:
            ConfigError: the program is missing or fails; holds the last line of what it said.
        """
        frame = to_yuv(image)
        with tempfile.TemporaryDirectory() as folder:
            raw, coded = Path(folder) / "picture.yuv", Path(folder) / "picture.266"
            raw.write_bytes(frame.to_ndarray().tobytes())
            command = [
                str(self._program), "--input", str(raw), "--size", f"{frame.width}x{frame.height}", "--frames", "1",
                "--format", "yuv420", "--internal-bitdepth", "8", "--preset", "medium", "--qp", str(self._quantiser),
                "--qpa", "0", "--intraperiod", "1", "--hrdparameterspresent", "0", "--threads", "1",
                "--output", str(coded),
            ]  # fmt: skip
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except FileNotFoundError:
                raise ConfigError(
                    f"there is no VVC encoder {self._program}: build VVenC and name its vvencapp"
                ) from None
            except subprocess.CalledProcessError as error:
                said = (error.stderr or error.stdout).strip().splitlines()
                raise ConfigError(f"{self._program} failed: {said[-1] if said else error.returncode}") from None
            return coded.read_bytes()

    def decode(self, coded: bytes, width: int, height: int) -> Picture:
        """See ``PictureCodec.decode``."""
        return decode_stream(coded, "vvc", width, height)
