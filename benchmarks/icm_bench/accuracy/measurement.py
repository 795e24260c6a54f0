"""What a codec's pictures cost and are worth, photo by photo, kept so that no run measures twice."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from icm.atomic_file import atomic_writer
from icm_bench.accuracy.picture_codecs.base import Picture, PictureCodec
from icm_train.evaluation.average_precision import MatchedDetections
from icm_train.evaluation.detection import Detect, Detections, LabelledPhoto

RESAMPLES = 200
"""Bootstrap samples of the photos."""


@dataclass(frozen=True)
class Measurement:
    """One codec at one setting before one detector; N photos, R bootstrap samples of them.

    Attributes:
        bits: int64[N], of each coded photo.
        pixels: int64[N].
        psnr: float64[N], dB.
        precision: float64[2], mAP50-95 and mAP50 over all photos.
        resampled: float64[R, 2], over each sample.
    """

    bits: NDArray[np.int64]
    pixels: NDArray[np.int64]
    psnr: NDArray[np.float64]
    precision: NDArray[np.float64]
    resampled: NDArray[np.float64]

    def bpp(self, chosen: NDArray[np.int64] | None = None) -> float:
        """Bits per pixel over the chosen photos, int64[K], by default all."""
        photos = np.arange(len(self.bits)) if chosen is None else chosen
        return float(self.bits[photos].sum() / self.pixels[photos].sum())


def resamples(photos: int) -> NDArray[np.int64]:
    """int64[R, photos]: the same samples for every codec and detector, so that differences are paired."""
    return np.random.default_rng(0).integers(photos, size=(RESAMPLES, photos))


class Measurements:
    """Measures codecs on labelled photos before detectors; what it has measured it reads back.

    A measurement is kept once it is whole, one file a codec's setting and detector, so a run can be stopped anywhere.
    """

    def __init__(self, photos: Sequence[LabelledPhoto], detectors: Mapping[str, Detect], folder: Path) -> None:
        """Opens the measurements of a set of photos.

        Args:
            detectors: by the keys that their measurements are kept under.
            folder: where; each set of photos has a folder of its own in it.
        """
        self._photos, self._detectors = photos, detectors
        self._folder = folder / _digest(photos)
        self._samples = resamples(len(photos))

    def measure(self, codec: PictureCodec) -> dict[str, Measurement]:
        """The codec's measurement by detector; every picture is coded and decoded once for all that are missing."""
        files = {name: self._folder / name / f"{codec.key}.npz" for name in self._detectors}
        missing = [name for name, file in files.items() if not file.exists()]
        if missing:
            for name, measurement in self._measured(codec, missing).items():
                _write(files[name], measurement)
        return {name: _read(file) for name, file in files.items()}

    def _measured(self, codec: PictureCodec, names: Sequence[str]) -> dict[str, Measurement]:
        found: dict[str, list[Detections]] = {name: [] for name in names}
        bits, psnr = [], []
        coded = self._coded(codec)
        for photo, data in zip(tqdm(self._photos, desc=codec.key, disable=None, leave=False), coded, strict=True):
            height, width = photo.image.shape[:2]
            decoded = codec.decode(data, width, height)
            bits.append(8 * len(data))
            psnr.append(peak_ratio(photo.image, decoded))
            for name in names:
                found[name].append(self._detectors[name](decoded))
        pixels = np.array([photo.image.shape[0] * photo.image.shape[1] for photo in self._photos])
        measured = {}
        for name in names:
            matched = MatchedDetections(self._photos, found[name])
            measured[name] = Measurement(
                np.array(bits), pixels, np.array(psnr), np.array(matched.precision()),
                np.array([matched.precision(sample) for sample in self._samples]),
            )  # fmt: skip
        return measured

    def _coded(self, codec: PictureCodec) -> list[bytes]:
        """The photos coded; from the folder where a slow encoder coded them before."""
        file = self._folder / "coded" / f"{codec.key}.zip"
        if file.exists():
            with zipfile.ZipFile(file) as archive:
                return [archive.read(photo.name) for photo in self._photos]
        progress = tqdm(self._photos, desc=f"{codec.key} encodes", disable=None, leave=False)
        coded = [codec.encode(photo.image) for photo in progress]
        if codec.slow_to_encode:
            with atomic_writer(file) as out, zipfile.ZipFile(out, "w") as archive:
                for photo, data in zip(self._photos, coded, strict=True):
                    archive.writestr(photo.name, data)
        return coded


def peak_ratio(original: Picture, decoded: Picture) -> float:
    """PSNR over all three channels, dB; at most 68, where the mean squared error is a hundredth."""
    error = float(np.square(decoded.astype(np.float32) - original).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-2)))


def _digest(photos: Sequence[LabelledPhoto]) -> str:
    digest = hashlib.sha256()
    for photo in photos:
        for part in (photo.name.encode(), photo.image.tobytes(), photo.boxes.tobytes()):
            digest.update(part)
    return digest.hexdigest()[:12]


def _write(file: Path, measurement: Measurement) -> None:
    with atomic_writer(file) as out:
        np.savez(out, **vars(measurement))


def _read(file: Path) -> Measurement:
    with np.load(file, allow_pickle=False) as stored:
        return Measurement(**{name: stored[name] for name in stored.files})
