"""Golden records: streams made once with a bundle, which every later version must decode to the same latents.

They lie in a folder of the bundle's name and, where the bundle learned more since, what that was: ``icm-1`` holds
records from before motion, ``icm-1.motion`` those made since. A stream is a file; ``latents.json`` beside them holds
what they decode to.

    python -m tests.golden.streams icm-2     makes those of that bundle as it is; refuses where they exist
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.codec.encoder import CodedFrame, Encoder, recode_intra
from icm.codec.latents.latents import Latents

GOLDEN = Path(__file__).parent
EXPECTED = "latents.json"


def folder_of(golden: Path) -> Path:
    """Of the bundle that a folder of golden records is of."""
    (folder,) = (folder for folder in SHIPPED_BUNDLES if folder.name == golden.name.partition(".")[0])
    return folder


def fingerprint(latents: Latents) -> str:
    """SHA-256 of everything that a later frame refers to, independent of the digest that records carry."""
    everything = latents.values.astype("<i2").tobytes() + latents.updated.tobytes()
    if latents.memory is not None:
        memory, field = latents.memory, latents.field
        everything += field.modes.tobytes() + field.vectors.tobytes()
        everything += memory.values.astype("<i2").tobytes() + memory.updated_since.tobytes() + bytes([memory.count])
    return hashlib.sha256(everything).hexdigest()


def scene(width: int, height: int, time: int) -> NDArray[np.uint8]:
    """A picture made by integer arithmetic, uint8[height, width, 3]: something walks over a background that stays."""
    row, column = np.mgrid[0:height, 0:width]
    grain = (row * 7919 + column * 104_729) % 23
    planes = [row * 2 + grain, column + 40 * ((row // 12 + column // 20) % 2), (row * column // 16) % 256]
    walker = (abs(row - height // 2) < 10) & (abs(column - 8 * time - 10) < 5)
    pictures = [np.where(walker, 230 - 40 * number, plane) for number, plane in enumerate(planes)]
    return np.stack(pictures, -1).clip(0, 255).astype(np.uint8)


def coded(bundle: Bundle, width: int, height: int, qualities: list[float]) -> list[CodedFrame]:
    """One stream: the first frame alone, the others after it, each at its quality."""
    encoder = Encoder(bundle)
    return [encoder.encode(scene(width, height, time), quality) for time, quality in enumerate(qualities)]


def crossing(bundle: Bundle) -> list[CodedFrame]:
    """Somebody comes, passes and goes, long enough for what is behind to be remembered; then a frame alone goes on."""
    encoder = Encoder(bundle)
    frames = [encoder.encode(scene(160, 96, max(0, time - 18)), 3) for time in range(36)]
    return [*frames[:-1], recode_intra(bundle, frames[-1].latents), encoder.encode(scene(160, 96, 20), 2.5)]


def streams(bundle: Bundle) -> Iterator[tuple[str, int, int, list[CodedFrame]]]:
    """Name, width, height and frames of each golden stream."""
    best = bundle.levels - 1
    yield "walk", 150, 90, coded(bundle, 150, 90, [3] * 5)
    yield (
        "levels",
        64,
        48,
        [Encoder(bundle).encode(scene(64, 48, 0), level) for level in (*range(bundle.levels), 0.5, best - 0.25)],
    )
    yield "changing-quality", 64, 48, coded(bundle, 64, 48, [3, 3.5, 2, best, 0, 0])
    yield "one-pixel", 1, 1, coded(bundle, 1, 1, [4, 4])
    yield "column", 3, 200, coded(bundle, 3, 200, [5, 5])
    yield "small", 130, 18, coded(bundle, 130, 18, [0, 0])
    walk = coded(bundle, 50, 34, [2] * 4)
    # As a cloud starts a segment: a frame in the middle of a chain, coded again alone; the chain goes on after it.
    yield "restart", 50, 34, [recode_intra(bundle, walk[2].latents), walk[3]]
    yield "crossing", 160, 96, crossing(bundle)
    still = Encoder(bundle)
    yield "still", 50, 34, [still.encode(scene(50, 34, 0), 1) for _ in range(3)]


def main() -> int:
    folder = GOLDEN / sys.argv[1]
    bundle = Bundle.load(folder_of(folder))
    if folder.exists():
        print(f"{folder} exists: golden records are made once, so give a bundle with other bits another name")
        return 1
    folder.mkdir()
    expected: dict[str, list[str]] = {}
    for name, width, height, frames in streams(bundle):
        header = StreamHeader(bundle.codec_id, "golden", 1, 0, width, height)
        records = [frame.record(number, 100_000 * number) for number, frame in enumerate(frames, start=1)]
        (folder / f"{name}.icm").write_bytes(header.pack() + b"".join(record.pack(header) for record in records))
        expected[name] = [fingerprint(frame.latents) for frame in frames]
    facts = {"codec_id": bundle.codec_id.hex(), "latents": expected}
    (folder / EXPECTED).write_text(json.dumps(facts, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {len(expected)} streams, {sum(map(len, expected.values()))} records, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
