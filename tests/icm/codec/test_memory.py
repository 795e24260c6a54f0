"""How much memory coding takes: large pictures are bounded by ``max_pixels``, so what a pixel takes has a bound too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import ICM_1, ICM_2

_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder

def most():
    # Unlike ru_maxrss it knows nothing of the process that started this one.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

row, column = np.mgrid[0:1024, 0:2048]
first = np.stack([row // 8 + column // 9, row ^ column, row // 5], -1).astype(np.uint8)
second, third = first.copy(), np.roll(first, 5, 1)
second[100:300, 100:300] = 255 - second[100:300, 100:300]
del row, column
encoder = Encoder(Bundle.load(Path(sys.argv[1]), threads=1))
for _ in range(2):
    encoder.encode(first[:64, :64], 3)
before, least = most(), []
for picture in (first, second, second, third):
    encoder.encode(picture, 3)
    least.append((most() - before) / (first.shape[0] * first.shape[1]))
print(*least)
"""
"""Bytes a pixel that each of a still camera's first pictures takes at most, and then one in which all moves."""


@pytest.mark.parametrize(
    ("bundle", "most_whole", "most_moving"), [(ICM_1, 150, 350), (ICM_2, 300, 400)], ids=["dense", "gated"]
)
def test_a_pixel_takes_a_bounded_number_of_bytes_at_the_edge(
    bundle: Path, most_whole: float, most_moving: float
) -> None:
    """A gated block has its input, what it mixes, its gate and its value at once, where a dense one has two of them."""
    command = [sys.executable, "-c", _PROGRAM, str(bundle)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    whole, *_, moving = map(float, result.stdout.split())
    assert 0 < whole < most_whole
    assert moving < most_moving
