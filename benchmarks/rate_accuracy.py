"""``icm-bench rate-accuracy``: bits per pixel against detection on labelled photos, ours beside JPEG, WebP and AVIF."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.report import RESULTS, print_table, write_json
from shared.codec.bundle import DEFAULT_BUNDLE, Bundle
from shared.codec.codec import Decoder, Encoder
from shared.codec.record import StreamHeader
from shared.errors import ConfigError
from training.evaluation.detection import Detect, LabelledPhoto, average_precision, load_photos, yolo

Codec = Callable[[NDArray[np.uint8]], tuple[int, NDArray[np.uint8]]]
"""A picture to its size in bytes, all headers included, and what it decodes to."""

PILLOW_SETTINGS: dict[str, tuple[int, ...]] = {
    "JPEG": (5, 10, 15, 20, 35, 50, 75, 85),
    "WEBP": (5, 20, 40, 60, 80),
    "AVIF": (20, 30, 40, 50, 60, 70),
}

PILLOW_EXTRA: dict[str, dict[str, Any]] = {"JPEG": {"optimize": True, "progressive": True}, "AVIF": {"speed": 4}}
"""What makes each as small as it can be."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench rate-accuracy", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with images/ and labels_boxes/")
    parser.add_argument("--weights", type=Path, default=Path(".cache/weights/yolo26n.pt"), help="the frozen detector")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--codecs", default="source,ours,JPEG", help="of source, ours, JPEG, WEBP, AVIF")
    parser.add_argument("--levels", default="0,1,2,3,4,5,6,7", help="our quality levels")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    photos, detect = load_photos(options.photos), yolo(options.weights)
    rows = []
    for name, setting, codec in _codecs(options.codecs.split(","), options.levels, options.bundle):
        rows.append(_measure(name, setting, codec, photos, detect))
        print_table(list(rows[-1]), [list(rows[-1].values())])
    figures: dict[str, Any] = {"photos": len(photos), "detector": options.weights.stem}
    rows = sorted(rows + _kept(options.results, figures, rows), key=lambda row: (row["codec"], row["bpp"]))
    print()
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    figures["rows"] = rows
    print(f"written to {write_json('rate_accuracy', figures, options.results)}")
    plot(rows, options.results / "rate_accuracy.png")
    return 0


def _kept(results: Path, figures: dict[str, Any], measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an earlier run under the same conditions, of codecs that were not measured this time."""
    try:
        earlier = json.loads((results / "rate_accuracy.json").read_text())
    except FileNotFoundError:
        return []
    if any(earlier.get(key) != value for key, value in figures.items()):
        return []
    again = {row["codec"] for row in measured}
    return [row for row in earlier["rows"] if row["codec"] not in again]


def _codecs(names: list[str], levels: str, bundle_folder: Path) -> list[tuple[str, str, Codec]]:
    chosen: list[tuple[str, str, Codec]] = []
    unknown = set(names) - {"source", "ours", *PILLOW_SETTINGS}
    if unknown:
        raise ConfigError(f"--codecs knows no {', '.join(sorted(unknown))}")
    for name in names:
        if name == "source":
            chosen.append((name, "-", lambda image: (image.nbytes, image)))
        elif name == "ours":
            bundle = Bundle.load(bundle_folder)
            chosen += [(bundle.name, level, ours(bundle, float(level))) for level in levels.split(",")]
        else:
            chosen += [(name, str(quality), pillow(name, quality)) for quality in PILLOW_SETTINGS[name]]
    return chosen


def ours(bundle: Bundle, quality: float) -> Codec:
    """Our codec; a picture costs its whole record plus the stream header that a file of one picture has."""
    encoder, decoder = Encoder(bundle), Decoder(bundle)

    def code(image: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8]]:
        height, width = image.shape[:2]
        header = StreamHeader(bundle.codec_id, "photo", 1, 0, width, height)
        record = encoder.encode(image, quality).record(1, 0)
        size = len(header.pack()) + len(record.pack(header))
        return size, decoder.decode(record, width, height)

    return code


def pillow(name: str, quality: int) -> Codec:
    """A codec of Pillow's at one of its quality settings."""

    def code(image: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8]]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, name, quality=quality, **PILLOW_EXTRA.get(name, {}))
        return buffer.tell(), np.asarray(Image.open(buffer).convert("RGB"))

    return code


def _measure(name: str, setting: str, codec: Codec, photos: list[LabelledPhoto], detect: Detect) -> dict[str, Any]:
    total_bits = total_pixels = 0
    errors, found = [], []
    for photo in tqdm(photos, desc=f"{name} {setting}", unit="photo", disable=None, leave=False):
        size, decoded = codec(photo.image)
        total_bits += 8 * size
        total_pixels += photo.image.shape[0] * photo.image.shape[1]
        errors.append(float(np.square(decoded.astype(np.float32) - photo.image).mean()))
        found.append(detect(decoded))
    precision = average_precision(photos, found)
    psnr = float(np.mean([10 * np.log10(255**2 / max(error, 1e-2)) for error in errors]))
    return {
        "codec": name,
        "setting": setting,
        "bpp": round(total_bits / total_pixels, 4),
        "map": round(precision["map"], 4),
        "map50": round(precision["map50"], 4),
        "psnr": round(psnr, 2),
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """mAP50-95 over bits per pixel, a line per codec."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name in dict.fromkeys(row["codec"] for row in rows):
        points = [(row["bpp"], row["map"]) for row in rows if row["codec"] == name]
        if name == "source":
            axes.axhline(points[0][1], color="grey", linestyle=":", label="uncompressed")
        else:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="bits per pixel", ylabel="mAP50-95", xlim=(0, 1.2))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
