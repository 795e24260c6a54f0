"""What a codec is worth on the held-out photos: bits and PSNR at every level, and BD-rate against AVIF."""

from __future__ import annotations

import hashlib
import io
import json
import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from bjontegaard import bd_rate
from numpy.typing import NDArray
from PIL import Image

from icm.atomic_file import write_atomically
from icm_train.data.photo_shard import Crops
from icm_train.learning.photos import held_out
from icm_train.learning.tables import CountedTables
from icm_train.models.codec import RateOn, TrainableCodec

MEASURE = "latents and hyper-latents by counted tables"
"""What bits are; results by another measure are not compared with these."""
_LARGEST = (384, 512)
"""Height and width cut from the middle of a photo, or the multiples of 64 below its own."""
_COUNTED, _COUNTED_SIDE = 64, 256
"""How many crops of photos that are not held out tables are counted on, and their side in pixels."""
_AVIF_QUALITIES = (15, 25, 35, 45, 55, 65, 75, 85)
_AVIF = {"speed": 4, "subsampling": "4:2:0"}


@dataclass(frozen=True)
class Curve:
    """A codec on the held-out photos, by level or setting: mean bits per pixel and mean PSNR in dB."""

    bpp: list[float]
    psnr: list[float]

    def rising(self) -> Curve:
        """Its points in order of bits without those that are no better than a cheaper one."""
        kept: list[tuple[float, float]] = []
        for bpp, psnr in sorted(zip(self.bpp, self.psnr, strict=True)):
            if not kept or psnr > kept[-1][1]:
                kept.append((bpp, psnr))
        return Curve([bpp for bpp, _ in kept], [psnr for _, psnr in kept])


def bits_against(anchor: Curve, test: Curve) -> float:
    """BD-rate: by how many per cent ``test`` takes more bits than ``anchor`` at equal PSNR, negative for fewer.

    Points that cost more than another and are no better are left out. NaN if the curves have no PSNR in common.
    """
    anchor, test = anchor.rising(), test.rising()
    low, high = max(anchor.psnr[0], test.psnr[0]), min(anchor.psnr[-1], test.psnr[-1])
    if min(len(anchor.bpp), len(test.bpp)) < 2 or low >= high:
        return math.nan
    with warnings.catch_warnings():
        # Where the curves share little of their range, the package warns; both curves are written beside the figure.
        warnings.simplefilter("ignore")
        return float(
            bd_rate(
                anchor.bpp, anchor.psnr, test.bpp, test.psnr,
                method="pchip", require_matching_points=False, min_overlap=0,
            )
        )  # fmt: skip


class HeldOut:
    """The held-out photos and AVIF's curve on them, which is measured once and kept beside the shard."""

    def __init__(self, shard: Path) -> None:
        photos = Crops(shard, _COUNTED_SIDE, 1, seed=77)
        chosen = held_out(photos.photos)
        self.pictures = [_middle(photos, number) for number in chosen]
        if not self.pictures:
            raise FileNotFoundError(f"{shard} has too few photos to hold some out: at least 20 are needed")
        others = photos.random.permutation([n for n in range(len(photos.photos)) if n not in chosen])
        self._counted = torch.stack([photos.crop_of(int(n)).image for n in others[:_COUNTED]])
        self.digest = _digest(self.pictures)
        """Hex digest by which measurements on the same photos are told from others."""
        self.avif = _stored_avif(shard, self.pictures, self.digest)

    @torch.no_grad()
    def measure(self, codec: TrainableCodec, rate_on: RateOn) -> Curve:
        """Codes every photo at every level.

        Bits are those of tables counted on training photos, as a bundle's are, without a context model.

        Args:
            rate_on: what the rate is taken of where it is trained; see ``TrainableCodec.integers``.
        """
        device = next(codec.parameters()).device
        tables = CountedTables.of(codec, self._counted, rate_on)
        bpp, psnr = [], []
        for level in range(len(codec.config.lambdas)):
            levels = torch.tensor([level], device=device)
            bits, image_quality, pixels = 0.0, 0.0, 0
            for picture in self.pictures:
                image = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255
                y, z = codec.integers(image, level, rate_on)
                means, indexes = codec.hyper_synthesis(z, levels)
                bits += tables.bits(y, means, indexes) + tables.hyper_bits(z, level)
                restored = codec.synthesise(y, levels).clamp(0, 1).mul(255).round()
                image_quality += _psnr(float((restored - image * 255).square().mean()))
                pixels += picture.shape[0] * picture.shape[1]
            bpp.append(bits / pixels)
            psnr.append(image_quality / len(self.pictures))
        return Curve(bpp, psnr)


def _middle(photos: Crops, number: int) -> NDArray[np.uint8]:
    photo = photos.photos[number]
    height, width = photo["height"], photo["width"]
    pixels = photos.pixels[photo["offset"] : photo["offset"] + height * width * 3].reshape(height, width, 3)
    rows, columns = (min(side, most) // 64 * 64 for side, most in zip((height, width), _LARGEST, strict=True))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut: NDArray[np.uint8] = pixels[top : top + rows, left : left + columns].copy()
    return cut


def _psnr(mse: float) -> float:
    return 10 * math.log10(255**2 / max(mse, 1e-3))


def _digest(pictures: list[NDArray[np.uint8]]) -> str:
    whole = hashlib.sha256()
    for picture in pictures:
        whole.update(repr(picture.shape).encode() + picture.tobytes())
    return whole.hexdigest()


def _stored_avif(shard: Path, pictures: list[NDArray[np.uint8]], digest: str) -> Curve:
    stored = shard.with_suffix(".avif.json")
    settings = {"photos": digest, "qualities": list(_AVIF_QUALITIES), **_AVIF}
    if stored.exists():
        kept = json.loads(stored.read_text())
        if kept.get("settings") == settings:
            return Curve(**kept["curve"])
    curve = _avif(pictures)
    write_atomically(stored, json.dumps({"settings": settings, "curve": asdict(curve)}))
    return curve


def _avif(pictures: list[NDArray[np.uint8]]) -> Curve:
    bpp, psnr = [], []
    for quality in _AVIF_QUALITIES:
        size, image_quality, pixels = 0, 0.0, 0
        for picture in pictures:
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "AVIF", quality=quality, **_AVIF)
            restored = np.asarray(Image.open(file).convert("RGB"), np.float64)
            size += 8 * len(file.getvalue())
            image_quality += _psnr(float(np.square(restored - picture).mean()))
            pixels += picture.shape[0] * picture.shape[1]
        bpp.append(size / pixels)
        psnr.append(image_quality / len(pictures))
    return Curve(bpp, psnr)
