"""What a trained codec is worth, measured on the checkpoint itself: rate, likeness, checkerboard, detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icm.codec.latents.latents import QUALITY_STEPS
from icm.codec.transforms.film_grain import Grain
from icm_train.data.photo_shard import Batch, Crops
from icm_train.evaluation.average_precision import MatchedDetections
from icm_train.evaluation.checkerboard import checkerboard_excess
from icm_train.evaluation.detection import Detect, LabelledPhoto
from icm_train.evaluation.image_quality import ImageQuality, Region, image_quality
from icm_train.models.codec import RateOn, TrainableCodec, pad_to
from icm_train.models.features import FrozenFeatures

Figures = dict[str, float]
"""By name; see ``measure``."""


@dataclass(frozen=True)
class DetectorTest:
    """A frozen detector and the labelled photos that it is shown."""

    detect: Detect
    photos: Sequence[LabelledPhoto]


def evaluation_crops(shard: Path, count: int, size: int) -> list[Batch]:
    """The same crops every time, of photos of the shard."""
    crops = Crops(shard, size, 1, seed=4321)
    return [crops.crop() for _ in range(count)]


@torch.inference_mode()
def measure(
    codec: TrainableCodec,
    level: int,
    crops: Sequence[Batch],
    features: FrozenFeatures,
    detector: DetectorTest | None,
    grain: tuple[Grain, Grain] = (Grain([]), Grain([])),
    rate_on: RateOn = "rounded",
) -> Figures:
    """Codes pictures at one quality level and measures what comes out.

    Args:
        codec: on the CPU.
        crops: uint8[3, S, S] images, S a multiple of 64 and at least 192, with masks if objects are to be told apart.
        features: the network of the perceptual distance.
        grain: what is laid over pictures for people, and what for the detector.
        rate_on: see ``TrainableCodec.integers``.

    Returns:
        ``bpp`` (what the float entropy model says), ``psnr``, ``ms_ssim``, ``feature_distance``, with masks
        ``object_psnr`` and ``background_psnr``, ``checkerboard_2`` to ``_16`` (the excess over the originals, dB), and
        with a detector ``map`` and ``map50``.
    """
    # The density of the hyper-latents adds noise, as in training; the same for every codec.
    torch.manual_seed(0)
    found: list[ImageQuality] = []
    originals, decoded, bits = [], [], 0.0
    for crop in crops:
        picture = crop.image.permute(1, 2, 0).numpy()
        y, z = codec.integers(crop.image[None].float() / 255, level, rate_on)
        means, indexes = codec.hyper_synthesis(z, torch.tensor([level]))
        bits += float(codec.latent_bits(y, means, indexes).sum() + codec.hyper_prior(z).sum())
        restored = _picture(codec, y, level, grain[0])
        found.append(image_quality(picture, restored, None if crop.mask is None else crop.mask.numpy(), features))
        originals.append(picture)
        decoded.append(restored)
    figures = {"bpp": bits / sum(picture.shape[0] * picture.shape[1] for picture in originals)}
    figures["psnr"] = _psnr([one.whole for one in found])
    objects, backgrounds = [one.objects for one in found], [one.background for one in found]
    if None not in objects:
        figures["object_psnr"] = _psnr([region for region in objects if region])
        figures["background_psnr"] = _psnr([region for region in backgrounds if region])
    figures["ms_ssim"] = float(np.mean([one.ms_ssim for one in found]))
    figures["feature_distance"] = float(np.mean([one.perceptual for one in found]))
    excess = checkerboard_excess(decoded, originals)
    figures |= {f"checkerboard_{stride}": one.mean for stride, one in excess.items()}
    return figures | (_detection(codec, level, detector, grain[1]) if detector else {})


def _detection(codec: TrainableCodec, level: int, detector: DetectorTest, grain: Grain) -> Figures:
    detections = []
    for photo in detector.photos:
        height, width = photo.image.shape[:2]
        image = torch.from_numpy(photo.image.copy()).permute(2, 0, 1)[None].float() / 255
        y, _ = codec.integers(pad_to(image, 64), level)
        shown = np.ascontiguousarray(_picture(codec, y, level, grain)[:height, :width])
        detections.append(detector.detect(shown))
    precision = MatchedDetections(detector.photos, detections).precision()
    return {"map": precision.map, "map50": precision.map50}


def _picture(codec: TrainableCodec, y: Tensor, level: int, grain: Grain) -> NDArray[np.uint8]:
    """Integer latents float32[1, M, h, w] as the decoder shows them, with grain: uint8[H, W, 3]."""
    image = codec.synthesise(y, torch.tensor([level]))[0]
    result: NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return grain.over(result, QUALITY_STEPS * level)


def _psnr(regions: Sequence[Region]) -> float:
    total = regions[0]
    for region in regions[1:]:
        total = total + region
    return total.psnr
