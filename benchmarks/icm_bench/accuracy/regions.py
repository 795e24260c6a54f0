"""``icm-bench regions``: where the bits of a picture go, and what it would be worth to know the objects.

One table divides each bundle's bits and errors among positions on objects, those beside them and all others. The
other gives the best bundle the labels' own masks, which no encoder has: what is not on an object is coded some levels
coarser, and a frozen detector looks at the result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from icm.codec.bit_allocation import intra_bits
from icm.codec.bitstream.record import Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.encoder import Encoder, quality_units
from icm.codec.latents.latents import STRIDE
from icm.codec.transforms.incremental import whole_blocks
from icm_bench import detectors
from icm_bench.accuracy.bd_rate import Curve, bd_rate
from icm_bench.report import RESULTS, print_rows, write_json
from icm_train.data.masks import polygon_mask, yolo_labels
from icm_train.evaluation.average_precision import MatchedDetections
from icm_train.evaluation.detection import Detect, LabelledPhoto, load_photos

PARTS = ("objects", "beside", "elsewhere")


@dataclass(frozen=True)
class Coded:
    """A photo at one quality.

    Attributes:
        unscaled: latents as the synthesis takes them, float32[M, h, w].
        bits: float64[h, w].
        picture: uint8[16h, 16w, 3], without grain.
    """

    unscaled: NDArray[np.float32]
    bits: NDArray[np.float64]
    picture: NDArray[np.uint8]


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench regions", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with images/, labels_boxes/ and labels_seg/")
    parser.add_argument("--first", type=int, help="only so many of the photos")
    parser.add_argument("--bundle", action="append", metavar="[NAME=]FOLDER", help="the last one is given the masks")
    parser.add_argument("--levels", default="1,2,3,4", help="quality levels")
    parser.add_argument("--coarser", default="0,1,2", help="by how many levels what is not on an object is coarser")
    parser.add_argument("--detector", type=Path, default=Path(".cache/weights/yolo26n.pt"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    photos = load_photos(options.photos)[: options.first]
    labels = yolo_labels(options.photos / "labels_seg")
    objects = [_positions(photo, labels.get(f"{photo.name}.jpg", [])) for photo in photos]
    levels = [float(level) for level in options.levels.split(",")]
    bundles = [(text.rpartition("=")[0], text.rpartition("=")[2]) for text in options.bundle or [str(DEFAULT_BUNDLE)]]
    where = []
    for name, folder in bundles:
        bundle = Bundle.load(Path(folder))
        for level in levels:
            where += _divided(name or bundle.name, bundle, level, photos, objects)
            print_rows(where[-len(PARTS) :])
    detect = detectors.load(options.detector)
    masked = []
    for coarser in map(float, options.coarser.split(",")):
        for level in levels:
            if level >= coarser:
                found, bpp = _with_masks(bundle, level, level - coarser, photos, objects, detect)
                masked.append({"coarser_by": coarser, "level": level, "bpp": round(bpp, 4), **found})
                print_rows(masked[-1:])
    rates = _bd(masked)
    figures = {"photos": len(photos), "bundle": bundle.name, "where": where, "masked": masked, "bd_rates": rates}
    if rates:
        print()
        print_rows(rates)
    print(f"written to {write_json('regions', figures, options.results)}")
    return 0


def _positions(photo: LabelledPhoto, polygons: list[list[float]]) -> NDArray[np.bool_]:
    """The positions of the latents that an object reaches into, bool[h, w]."""
    height, width = photo.image.shape[:2]
    mask = polygon_mask(polygons, width, height)
    padded = np.pad(mask, ((0, -height % STRIDE), (0, -width % STRIDE)))
    rows, columns = padded.shape[0] // STRIDE, padded.shape[1] // STRIDE
    reached: NDArray[np.bool_] = padded.reshape(rows, STRIDE, columns, STRIDE).any((1, 3))
    return reached


def _parts(objects: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The part that each position belongs to, an index into ``PARTS``: int64[h, w]."""
    padded = np.pad(objects, 1)
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.where(objects, 0, np.where(views.any((2, 3)), 1, 2))


def _code(bundle: Bundle, image: NDArray[np.uint8], level: float) -> Coded:
    latents = Encoder(bundle).encode(image, level, intra=True).latents
    inverse_gains = bundle.inverse_gains(quality_units(bundle, level))
    unscaled = latents.values * inverse_gains[:, np.newaxis, np.newaxis]
    return Coded(unscaled, intra_bits(bundle.entropy, latents), _shown(bundle, unscaled, level))


def _shown(bundle: Bundle, unscaled: NDArray[np.float32], level: float) -> NDArray[np.uint8]:
    """The synthesis of latents that have their ungains already."""
    shares = bundle.level_shares(quality_units(bundle, level))
    given = unscaled[np.newaxis], np.ones((1, len(unscaled), 1, 1), np.float32), shares[np.newaxis]
    picture: NDArray[np.uint8] = bundle.synthesis(*given[: bundle.synthesis.takes])[0]
    return picture


def _divided(
    name: str, bundle: Bundle, level: float, photos: Sequence[LabelledPhoto], objects: Sequence[NDArray[np.bool_]]
) -> list[dict[str, Any]]:
    """How bits and errors of one level are divided among the parts."""
    positions, bits, errors = np.zeros(len(PARTS)), np.zeros(len(PARTS)), np.zeros(len(PARTS))
    for photo, reached in zip(tqdm(photos, desc=f"{name} {level:g}", disable=None, leave=False), objects, strict=True):
        coded, parts = _code(bundle, photo.image, level), _parts(reached).ravel()
        difference = coded.picture.astype(np.float64) - whole_blocks(photo.image)
        rows, columns = reached.shape
        error = np.square(difference).reshape(rows, STRIDE, columns, STRIDE * 3).mean((1, 3))
        for total, values in ((positions, None), (bits, coded.bits.ravel()), (errors, error.ravel())):
            total += np.bincount(parts, values, minlength=len(PARTS))
    return [
        {
            "bundle": name,
            "level": level,
            "part": part,
            "share_of_area": round(positions[number] / positions.sum(), 3),
            "share_of_bits": round(bits[number] / bits.sum(), 3),
            "bpp": round(bits[number] / (positions[number] * STRIDE**2), 4),
            "psnr": round(10 * np.log10(255**2 * positions[number] / errors[number]), 2),
        }
        for number, part in enumerate(PARTS)
    ]


def _with_masks(
    bundle: Bundle,
    level: float,
    background: float,
    photos: Sequence[LabelledPhoto],
    objects: Sequence[NDArray[np.bool_]],
    detect: Detect,
) -> tuple[dict[str, float], float]:
    """What a detector finds and the bits per pixel, where only objects have the level and the rest has another."""
    found, bits, pixels = [], 0.0, 0
    told = f"{level:g} on {background:g}"
    for photo, reached in zip(tqdm(photos, desc=told, disable=None, leave=False), objects, strict=True):
        height, width = photo.image.shape[:2]
        fine = _code(bundle, photo.image, level)
        coarse = fine if background == level else _code(bundle, photo.image, background)
        mixed = _shown(bundle, np.where(reached, fine.unscaled, coarse.unscaled), level)[:height, :width]
        found.append(
            detect(bundle.detector_grain(Kind.I).over(np.ascontiguousarray(mixed), quality_units(bundle, level)))
        )
        bits += float(np.where(reached, fine.bits, coarse.bits).sum())
        pixels += height * width
    precision = MatchedDetections(photos, found).precision()
    return {"map": round(precision.map, 4), "map50": round(precision.map50, 4)}, bits / pixels


def _bd(masked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the masks save in per cent of the bits at equal mAP, against the same bundle without."""
    curves = {}
    for coarser in dict.fromkeys(row["coarser_by"] for row in masked):
        rows = [row for row in masked if row["coarser_by"] == coarser]
        curves[coarser] = Curve(np.array([row["bpp"] for row in rows]), np.array([row["map"] for row in rows]))
    rates = {coarser: bd_rate(curves[0], curve) for coarser, curve in curves.items() if coarser and 0 in curves}
    return [
        {"coarser_by": coarser, "against": 0, "bd_rate": round(rate, 1)}
        for coarser, rate in rates.items()
        if not np.isnan(rate)
    ]
