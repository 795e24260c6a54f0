"""``icm-bench motion-modes``: where the bits of P records go, and what each of their modes is worth.

Bits by part are of the shipped codec. For the ablation the encoder is kept from using some modes, and its bits are
compared at equal squared error of what moves: blocks of 16x16 pixels that differ from the clip's median picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import RECORD_OVERHEAD, Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder
from icm.codec.entropy.coder import new_coder, push_symbols
from icm.codec.entropy.skip_map import push_map
from icm.codec.latents.field import Mode
from icm.codec.latents.latents import STRIDE, Latents
from icm.codec.motion.choice import Costs
from icm.codec.motion.coding import FieldTables, symbols
from icm.codec.motion.prediction import LinearPicture, predict, reference_after
from icm_bench.accuracy.bd_rate import Curve, bd_rate
from icm_bench.report import RESULTS, print_rows, write_json
from icm_bench.video.scenes import CONDITIONS, load
from icm_bench.video.video_codecs.base import Picture

SCENES = ("vtest", "tud_campus", "crossing")
FRAMES = 60
LEVELS = (0.0, 1.0, 2.0)
_SETTLED = 8
"""Frames after which a camera's noise is known."""
_MOVES = 12.0
"""Grey levels, in the mean, by which a block differs from the median picture where something is in it that moves."""
_NEVER = 1e9
"""Bits of a mode that is not to be chosen."""
_MOTION = (Mode.MOTION, Mode.MOTION_DIFFERENCE)
_SPLIT = (Mode.SPLIT, Mode.SPLIT_DIFFERENCE)
_BACKGROUND = (Mode.BACKGROUND, Mode.BACKGROUND_DIFFERENCE)
WITHOUT: dict[str, tuple[Mode, ...]] = {
    "background": _BACKGROUND,
    "four vectors": _SPLIT,
    "all vectors": (*_MOTION, *_SPLIT),
    "motion without a difference": (Mode.MOTION, Mode.SPLIT, Mode.BACKGROUND),
    "all but what was there and a difference": (*_MOTION, *_SPLIT, *_BACKGROUND),
}
"""Modes that are taken away, by what that leaves the encoder without."""


class _SomeModes(Costs):
    """Bits under which some modes are never chosen."""

    def __init__(self, tables: FieldTables, forbidden: Sequence[Mode]) -> None:
        super().__init__(tables)
        self._forbidden = list(forbidden)

    def modes(self, contexts: NDArray[np.int64]) -> NDArray[np.float32]:
        bits = super().modes(contexts).copy()
        bits[:, self._forbidden] = _NEVER
        return bits


class _SomeModesEncoder(Encoder):
    """An encoder that does not use some modes."""

    def __init__(self, bundle: Bundle, forbidden: Sequence[Mode]) -> None:
        super().__init__(bundle)
        assert bundle.motion is not None, "an ablation of modes needs a bundle with motion"
        self._costs = _SomeModes(bundle.motion.tables, forbidden)


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench motion-modes", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the clips, as for icm-bench video")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    bundle = Bundle.load(options.bundle)
    parts: list[dict[str, Any]] = []
    worth: list[dict[str, Any]] = []
    for name in options.scenes:
        pictures = load(name, options.data)[1].pictures[:FRAMES]
        moves = _moves(pictures)
        curve = []
        for level in LEVELS:
            frames = _coded(Encoder(bundle), pictures, level)
            parts.append({"scene": name, "level": level} | _parts(bundle, frames))
            curve.append(_point(bundle, frames, pictures, moves))
        for missing, modes in WITHOUT.items():
            other = [
                _point(bundle, _coded(_SomeModesEncoder(bundle, modes), pictures, level), pictures, moves)
                for level in LEVELS
            ]
            more = bd_rate(*(Curve(*np.array(points).T) for points in (curve, other)))
            worth.append({"scene": name, "without": missing, "bits": f"{more:+.1f} %"})
            print_rows(worth[-1:])
    cameras = _cameras(bundle, options.scenes[0], options.data)
    print_rows(cameras)
    figures = {"frames": FRAMES, "bits_of_a_p_record": parts, "without": worth, "cameras": cameras}
    print_rows(parts)
    print(f"written to {write_json('motion_modes', figures, options.results)}")
    return 0


def _cameras(bundle: Bundle, scene: str, data: Path) -> list[dict[str, Any]]:
    """What a camera's troubles cost: P records against those of the clip without, all at level 1."""
    rows: list[dict[str, Any]] = []
    for condition in ("", *CONDITIONS):
        pictures = load(f"{scene}:{condition}" if condition else scene, data)[1].pictures[:FRAMES]
        frames = _coded(Encoder(bundle), pictures, 1)[_SETTLED:]
        bits = float(np.mean([8 * (RECORD_OVERHEAD + len(frame.payload)) for frame in frames]))
        rows.append(
            {
                "camera": f"{scene}, {condition or 'as it is'}",
                "bits": round(bits),
                "times": round(bits / rows[0]["bits"], 2) if rows else 1.0,
                "moved_percent": round(100 * float(np.mean([frame.latents.updated.mean() for frame in frames])), 1),
                "i_records": sum(frame.kind is Kind.I for frame in frames),
            }
        )
    return rows


def _coded(encoder: Encoder, pictures: Sequence[Picture], level: float) -> list[CodedFrame]:
    return [encoder.encode(picture, level) for picture in pictures]


def _point(
    bundle: Bundle, frames: Sequence[CodedFrame], pictures: Sequence[Picture], moves: NDArray[np.bool_]
) -> tuple[float, float]:
    """Bits of a P record with its overhead, and PSNR of the blocks in which something moves."""
    decoder, errors = Decoder(bundle), []
    for frame, picture, where in zip(frames, pictures, moves, strict=True):
        shown = decoder.synthesised(frame.latents)
        errors.append(_blocks(np.square(shown.astype(np.float32) - picture).mean(2))[where])
    bits = float(np.mean([8 * (RECORD_OVERHEAD + len(frame.payload)) for frame in frames[1:]]))
    return bits, float(10 * np.log10(255**2 / np.concatenate(errors).mean()))


def _moves(pictures: Sequence[Picture]) -> NDArray[np.bool_]:
    """bool[T, h, w], blocks in which something is that moves."""
    median = np.median(np.stack(pictures[::3]), 0)
    return np.stack([_blocks(np.abs(picture - median).mean(2)) > _MOVES for picture in pictures])


def _blocks(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Means of whole blocks of 16x16 pixels; what is left over at the edges does not count."""
    rows, columns = (side // STRIDE for side in values.shape)
    whole = values[: rows * STRIDE, : columns * STRIDE].reshape(rows, STRIDE, columns, STRIDE)
    means: NDArray[np.floating[Any]] = whole.mean((1, 3))
    return means


def _parts(bundle: Bundle, frames: Sequence[CodedFrame]) -> dict[str, float]:
    """Mean bits of each part of a P record, and of a hundred moved positions how many have each mode."""
    motion = bundle.motion
    assert motion is not None, "the modes of a bundle with motion only"
    pictures = LinearPicture(motion.path)
    sums: dict[str, float] = {"record": 0, "map": 0, "modes": 0, "vectors": 0, "differences": 0}
    counts = np.zeros(len(Mode))
    following = [(before.latents, frame) for before, frame in pairwise(frames) if frame.motion]
    for before, frame in following:
        for part, bits in _bits(bundle, before, frame.latents, pictures).items():
            sums[part] += bits / len(following)
        sums["record"] += 8 * RECORD_OVERHEAD / len(following)
        counts += np.bincount(frame.latents.field.modes.ravel(), minlength=len(Mode))
    shares = 100 * counts[1:] / counts[1:].sum()
    return {part: round(bits) for part, bits in sums.items()} | {
        mode.name.lower() + "_percent": round(float(share), 1)
        for mode, share in zip(list(Mode)[1:], shares, strict=True)
    }


def _bits(bundle: Bundle, before: Latents, latents: Latents, pictures: LinearPicture) -> dict[str, float]:
    motion = bundle.motion
    assert motion is not None
    reference = reference_after(before, latents.quality, bundle.octaves, pictures)
    field, level = latents.field, bundle.entropy.level(latents.quality)
    said, coder = predict(motion.path, field, reference), new_coder()
    surroundings = motion.surroundings(said.values, field)
    motion.differences.push(coder, surroundings, latents.values, said.values, level, said.eighths)
    result = {"differences": float(coder.num_valid_bits())}
    of_kind = {"modes": 0.0, "vectors": 0.0}
    for part in reversed(symbols(field, reference.field, reference.foreground)):
        had = coder.num_valid_bits()
        push_symbols(coder, part.values, part.indexes, getattr(motion.tables, part.kind))
        of_kind["modes" if part.kind == "modes" else "vectors"] += coder.num_valid_bits() - had
    alone = new_coder()
    push_map(alone, field.updated, reference.field.updated, motion.tables.skip_map_tables)
    return result | of_kind | {"map": float(alone.num_valid_bits())}
