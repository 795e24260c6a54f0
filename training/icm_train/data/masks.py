"""Object masks of the training photos: from labels where there are any, else from a segmentation model.

Masks exist at training time only. They lie beside the photos' shard, one bit a pixel, in the photos' order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tqdm import tqdm

from icm import torchvision_ops
from icm.atomic_file import atomic_writer
from icm.errors import ConfigError
from icm.media.pillow_kept import pillow_kept

Mask = NDArray[np.bool_]
"""bool[H, W], true on objects."""
Segment = Callable[[NDArray[np.uint8]], Mask]
"""uint8[H, W, 3] RGB to its mask."""

CONFIDENCE = 0.25


@dataclass(frozen=True)
class MaskSources:
    """Where masks come from.

    Attributes:
        weights: a segmentation model, for photos without labels.
        coco_labels: a COCO instances file.
        yolo_labels: a folder of YOLO segmentation labels, which go first.
    """

    weights: Path | None = None
    coco_labels: Path | None = None
    yolo_labels: Path | None = None

    def check(self) -> None:
        """Checks that there is a source and that its files are there.

        Raises:
            ConfigError: a file is missing, or there is no source at all.
        """
        given = [path for path in (self.weights, self.coco_labels, self.yolo_labels) if path]
        if not given:
            raise ConfigError(
                "object masks need a segmentation model (--weights), COCO labels (--coco-labels) or YOLO labels"
                " (--yolo-labels)"
            )
        if missing := [str(path) for path in given if not path.exists()]:
            raise ConfigError(f"there is no {', '.join(missing)} to make object masks from")

    def write(self, shard: Path) -> Path:
        """Makes the mask file of a shard of photos; raises ConfigError as ``check`` and ``write_masks`` do."""
        self.check()
        labels = coco_labels(self.coco_labels) if self.coco_labels else {}
        labels |= yolo_labels(self.yolo_labels) if self.yolo_labels else {}
        return write_masks(shard, segmenter(self.weights) if self.weights else None, labels)


def write_masks(shard: Path, segment: Segment | None, labels: dict[str, list[list[float]]]) -> Path:
    """Makes the mask file of a shard of photos.

    Args:
        shard: made by ``icm_train.data.photo_shard.pack``.
        segment: what finds objects in photos that have no labels.
        labels: polygons by photo name: x and y in turn, 0..1.

    Raises:
        ConfigError: a photo has no labels, and there is nothing to segment it with.
    """
    photos = json.loads(shard.with_suffix(".json").read_text())
    pixels = np.memmap(shard, dtype=np.uint8, mode="r")
    target = mask_file(shard)
    with atomic_writer(target) as out:
        for photo in tqdm(photos, desc="masking", unit="photo"):
            height, width = photo["height"], photo["width"]
            if photo["name"] in labels:
                mask = polygon_mask(labels[photo["name"]], width, height)
            elif segment is None:
                raise ConfigError(f"{photo['name']} has no labels: give a segmentation model too (--weights)")
            else:
                view = pixels[photo["offset"] : photo["offset"] + height * width * 3]
                mask = segment(np.array(view.reshape(height, width, 3)))
            out.write(np.packbits(mask).tobytes())
    return target


def mask_file(shard: Path) -> Path:
    """Where a shard's masks lie."""
    return shard.with_suffix(".masks")


def read_masks(shard: Path, photos: list[dict[str, Any]]) -> list[NDArray[np.uint8]]:
    """The packed bits of each photo's mask."""
    packed = np.memmap(mask_file(shard), dtype=np.uint8, mode="r")
    lengths = [-(-photo["height"] * photo["width"] // 8) for photo in photos]
    ends = np.cumsum(lengths)
    return [packed[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def unpack(bits: NDArray[np.uint8], height: int, width: int) -> Mask:
    """Packed bits to bool[height, width]."""
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)


def polygon_mask(polygons: list[list[float]], width: int, height: int) -> Mask:
    """Polygons, x and y in turn in 0..1, filled."""
    image = Image.new("1", (width, height))
    draw = ImageDraw.Draw(image)
    for polygon in polygons:
        points = np.array(polygon).reshape(-1, 2) * (width, height)
        if len(points) >= 3:
            draw.polygon([(float(x), float(y)) for x, y in points], fill=1)
    return np.asarray(image, bool)


def yolo_labels(folder: Path) -> dict[str, list[list[float]]]:
    """Polygons from YOLO segmentation labels (a text file a photo: class, then x and y in turn), by photo name."""
    return {
        f"{path.stem}.jpg": [[float(v) for v in line.split()[1:]] for line in path.read_text().splitlines() if line]
        for path in sorted(folder.glob("*.txt"))
    }


def coco_labels(instances: Path) -> dict[str, list[list[float]]]:
    """Polygons from a COCO instances file, by photo name; crowds, which have none, are left out."""
    content = json.loads(instances.read_text())
    images = {image["id"]: image for image in content["images"]}
    found: dict[str, list[list[float]]] = {image["file_name"]: [] for image in images.values()}
    for annotation in content["annotations"]:
        image = images[annotation["image_id"]]
        if isinstance(annotation["segmentation"], list):
            for polygon in annotation["segmentation"]:
                scaled = np.array(polygon).reshape(-1, 2) / (image["width"], image["height"])
                found[image["file_name"]].append(scaled.ravel().tolist())
    return found


def segmenter(weights: Path) -> Segment:
    """An Ultralytics segmentation model; every instance of every class counts as an object."""
    torchvision_ops.declare()
    with pillow_kept():
        from ultralytics import YOLO  # type: ignore[attr-defined]

    model: Any = YOLO(str(weights))

    def segment(image: NDArray[np.uint8]) -> Mask:
        height, width = image.shape[:2]
        result = model.predict(np.ascontiguousarray(image[:, :, ::-1]), conf=CONFIDENCE, verbose=False)[0]
        if result.masks is None:
            return np.zeros((height, width), bool)
        return polygon_mask([polygon.ravel().tolist() for polygon in result.masks.xyn], width, height)

    return segment
