"""``icm-bench visual``: what decoded pictures are to a person, and whether finetuning took the checkerboard away."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.media.pictures import read_picture
from icm.testing import assets
from icm_bench.accuracy.bd_rate import interval
from icm_bench.accuracy.measurement import resamples
from icm_bench.accuracy.picture_codecs.base import Picture
from icm_bench.accuracy.picture_codecs.ours import UNFINETUNED, OurCodec
from icm_bench.report import RESULTS, print_rows, write_json
from icm_train.data.masks import Mask, polygon_mask, yolo_labels
from icm_train.data.photo_shard import find_photos
from icm_train.evaluation.checkerboard import STRIDES, Excess, checkerboard_excess, plant_grid
from icm_train.evaluation.image_quality import ImageQuality, Region, image_quality
from icm_train.models.features import FrozenFeatures

DECODER, BASE = "decoder", "before finetuning"


@dataclass(frozen=True)
class PictureSet:
    """Pictures with the masks of their objects, None for those without labels."""

    name: str
    pictures: list[Picture]
    masks: list[Mask | None]


@dataclass(frozen=True)
class Seen:
    """What a decoder made of a set: float64[N] by picture, and the pictures."""

    bpp: float
    found: list[ImageQuality]
    decoded: list[Picture]

    def perceptual(self) -> NDArray[np.float64]:
        """Distance of each picture from its original."""
        return np.array([one.perceptual for one in self.found])

    def psnr(self) -> NDArray[np.float64]:
        """Of each picture, dB."""
        return np.array([one.whole.psnr for one in self.found])


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench visual", description=__doc__)
    parser.add_argument(
        "pictures", type=Path, nargs="+", help="folders of pictures; objects are told from labels_seg/ where one has it"
    )
    parser.add_argument("--first", type=int, help="only so many pictures of each folder")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--levels", default="1,3,5", help="our quality levels")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    bundle = Bundle.load(options.bundle)
    features = FrozenFeatures(
        assets.fetch(assets.FEATURE_WEIGHTS, assets.CACHE, lambda text: print(text, file=sys.stderr))
    )
    rows: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    controls: list[dict[str, Any]] = []
    for folder in options.pictures:
        pictures = _read(folder, options.first)
        for level in map(float, options.levels.split(",")):
            seen = {name: _look(codec, pictures, features) for name, codec in _decoders(bundle, level)}
            for name, one in seen.items():
                excess = checkerboard_excess(one.decoded, pictures.pictures)
                rows.append(
                    {"pictures": pictures.name, "decoder": name, "level": level, **_figures(one), **_told(excess)}
                )
                print_rows(rows[-1:])
            if BASE in seen:
                changes.append({"pictures": pictures.name, "level": level, **_change(seen[DECODER], seen[BASE])})
        controls += _controls(pictures)
    print()
    figures: dict[str, Any] = {"bundle": bundle.name}
    for name, table in (("decoders", rows), ("finetuning", changes), ("control", controls)):
        if table:
            figures[name] = table
            print_rows(table)
            print()
    print(f"written to {write_json('visual', figures, options.results)}")
    return 0


def _read(folder: Path, first: int | None) -> PictureSet:
    """Reads the pictures of a folder.

    Raises:
        FileNotFoundError: the folder holds no pictures.
    """
    paths = find_photos([folder])[:first]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no pictures")
    pictures = [read_picture(path) for path in paths]
    labels = yolo_labels(folder / "labels_seg")
    masks = [
        polygon_mask(labels[f"{path.stem}.jpg"], image.shape[1], image.shape[0])
        if f"{path.stem}.jpg" in labels
        else None
        for path, image in zip(paths, pictures, strict=True)
    ]
    return PictureSet(folder.name, pictures, masks)


def _decoders(bundle: Bundle, level: float) -> Iterator[tuple[str, OurCodec]]:
    yield DECODER, OurCodec(bundle.name, bundle, level)
    if (bundle.folder / UNFINETUNED).exists():
        yield BASE, OurCodec(bundle.name, bundle, level, UNFINETUNED)


def _look(codec: OurCodec, pictures: PictureSet, features: FrozenFeatures) -> Seen:
    bits = pixels = 0
    found, decoded = [], []
    pairs = zip(pictures.pictures, pictures.masks, strict=True)
    for image, mask in tqdm(pairs, desc=codec.setting, total=len(pictures.masks), disable=None, leave=False):
        height, width = image.shape[:2]
        coded = codec.encode(image)
        decoded.append(codec.decode(coded, width, height))
        found.append(image_quality(image, decoded[-1], mask, features))
        bits, pixels = bits + 8 * len(coded), pixels + height * width
    return Seen(bits / pixels, found, decoded)


def _figures(seen: Seen) -> dict[str, float]:
    """Means over the pictures; PSNR of objects and background over all their pixels together."""
    figures = {"bpp": round(seen.bpp, 4), "psnr": round(float(seen.psnr().mean()), 2)}
    for part in ("objects", "background"):
        regions = [region for one in seen.found if (region := getattr(one, part)) is not None]
        if regions:
            figures[f"psnr_{part}"] = round(sum(regions, Region(0, 0)).psnr, 2)
    figures["ms_ssim"] = round(float(np.mean([one.ms_ssim for one in seen.found])), 4)
    figures["perceptual"] = round(float(seen.perceptual().mean()), 4)
    return figures


def _told(excess: dict[int, Excess]) -> dict[str, Any]:
    """Upper bounds by stride, and the verdict."""
    bounds = {f"C{stride}": round(excess[stride].upper, 2) for stride in STRIDES}
    return {**bounds, "checkerboard": "gone" if all(one.gone for one in excess.values()) else "there"}


def _change(after: Seen, before: Seen) -> dict[str, float]:
    """What finetuning did to the same pictures, with 95 % bootstrap intervals of the perceptual distance's change."""
    near, far = after.perceptual(), before.perceptual()
    samples = resamples(len(near))
    low, high = interval(100 * (near[samples].mean(1) / far[samples].mean(1) - 1))
    return {
        "perceptual_percent": round(float(100 * (near.mean() / far.mean() - 1)), 1),
        "low": round(low, 1),
        "high": round(high, 1),
        "psnr_db": round(float((after.psnr() - before.psnr()).mean()), 2),
    }


def _controls(pictures: PictureSet) -> Iterator[dict[str, Any]]:
    """The same test on the originals with half a grey level of pattern: it must find every one."""
    for stride in STRIDES:
        planted = [plant_grid(image, stride) for image in pictures.pictures]
        yield {
            "pictures": pictures.name,
            "planted_stride": stride,
            **_told(checkerboard_excess(planted, pictures.pictures)),
        }
