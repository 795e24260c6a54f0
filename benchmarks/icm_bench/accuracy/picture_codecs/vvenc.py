"""VVenC's program ``vvencapp``, which no package registry has: it is built from its public source.

What counts is the bare elementary stream: parameter sets and coded pictures, no container.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import av

from icm.errors import ConfigError


def encode(program: Path, frames: Sequence[av.VideoFrame], options: Sequence[str]) -> bytes:
    """Frames of one size, yuv420p, as a VVC stream, coded on one thread.

    Args:
        program: VVenC's vvencapp.
        options: of it, beyond what the frames say.

    Raises:
        ConfigError: the program is missing or fails; holds the last line of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, coded = Path(folder) / "pictures.yuv", Path(folder) / "pictures.266"
        with raw.open("wb") as file:
            for frame in frames:
                file.write(frame.to_ndarray().tobytes())
        command = [
            str(program), "--input", str(raw), "--size", f"{frames[0].width}x{frames[0].height}",
            "--frames", str(len(frames)), "--format", "yuv420", "--internal-bitdepth", "8", "--qpa", "0",
            "--hrdparameterspresent", "0", "--threads", "1", *options, "--output", str(coded),
        ]  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise ConfigError(f"there is no VVC encoder {program}: build VVenC and name its vvencapp") from None
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).strip().splitlines()
            raise ConfigError(f"{program} failed: {said[-1] if said else error.returncode}") from None
        return coded.read_bytes()
