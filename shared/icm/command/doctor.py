"""``icm doctor``: whether this machine codes and decodes exactly what every other one does."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from icm.codec.bitstream.record import parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import GOLDEN
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder
from icm.errors import BundleError
from icm.service.command_line import say

LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "numpy", "constriction", "google-crc32c", "av")
_THREADS = (1, 2, 4)
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "amx_tile", "asimd", "sve")
"""Of CPUs, those that ONNX Runtime chooses its routines by."""
_WIDTH, _HEIGHT, _QUALITY, _FRAMES = 200, 120, 3.0, 3
_PIXEL_TOLERANCE = 2
"""Grey levels that the same latents may differ by as pictures of two devices."""


def examine(folders: Sequence[Path]) -> bool:
    """Runs every check on bundles, prints one line for each, and says whether all went well."""
    providers = onnxruntime.get_available_providers()
    devices = ("cpu", "cuda") if "CUDAExecutionProvider" in providers else ("cpu",)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("machine", _machine),
        ("libraries", _libraries),
        ("providers", lambda: ", ".join(providers)),
    ]
    for folder in folders:
        checks += [(f"golden records of {folder.name}, threads {n}", partial(_golden, folder, n)) for n in _THREADS]
        checks += [(f"encoding with {folder.name} on {name}", partial(_encoding, folder, name)) for name in devices]
    return all([_passes(name, check) for name, check in checks])


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        verdict, detail = "ok", check()
    except Exception as error:
        # A broken library raises anything; the other checks tell more about it.
        verdict, detail = "FAILED", f"{type(error).__name__}: {error}"
    say(f"{verdict:6} {name}: {detail}")
    return verdict == "ok"


def _machine() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        told = []
    features = [name for name in _FEATURES if name in told]
    facts = [platform.machine(), platform.system(), f"{os.cpu_count()} cores", *features]
    return f"{', '.join(facts)}; Python {platform.python_version()}"


def _libraries() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _golden(folder: Path, threads: int) -> str:
    """Loading a bundle checks its files' digests, and that its golden records decode to the latents they promise."""
    bundle = Bundle.load(folder, threads)
    _, records = parse_stream((folder / GOLDEN).read_bytes())
    kinds = [record.kind.name for record in records]
    counts = " and ".join(f"{kinds.count(kind)} {kind}" for kind in ("I", "P"))
    return f"{counts} records, codec {bundle.codec_id.hex()[:16]}, decode to their latents"


def _encoding(folder: Path, device: str) -> str:
    """What a device encodes must decode, on the CPU, to the very latents it coded; pictures may differ a little.

    Raises:
        BundleError: it does not.
    """
    here, cpu = Bundle.load(folder, 0, device), Bundle.load(folder)
    decoder, encoder = Decoder(cpu), Encoder(here)
    for number, image in enumerate(_pictures(), start=1):
        frame = encoder.encode(image, _QUALITY)
        latents = decoder.latents(frame.record(number, 0), _WIDTH, _HEIGHT)
        if not np.array_equal(latents.values, frame.latents.values):
            raise BundleError(f"frame {number}, coded on {device}, decodes to other latents than were coded")
        apart = np.abs(_picture(here, frame).astype(np.int16) - _picture(cpu, frame)).max()
        if apart > _PIXEL_TOLERANCE:
            raise BundleError(f"frame {number} as pictures of {device} and the CPU differs by {apart} grey levels")
    return f"{_FRAMES} frames decode to the latents that were coded, and to the same pictures"


def _pictures() -> Iterator[NDArray[np.uint8]]:
    """By integer arithmetic: something walks over a background that stays."""
    row, column = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    background = np.stack([row * 2, column, (row * column // 16) % 256], -1).clip(0, 255).astype(np.uint8)
    for number in range(_FRAMES):
        image = background.copy()
        image[40:80, 30 + 16 * number : 46 + 16 * number] = 220
        yield image


def _picture(bundle: Bundle, frame: CodedFrame) -> NDArray[np.uint8]:
    return Decoder(bundle).picture(frame.latents)
