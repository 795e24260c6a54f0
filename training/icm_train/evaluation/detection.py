"""Labelled photos, and a frozen detector that looks at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icm import torchvision_ops
from icm.media.pillow_kept import pillow_kept

CLASSES = 80
CONFIDENCE = 0.001
"""Low, as COCO's measure wants it: every box counts, by its rank."""
MOST_BOXES = 300

Detections = list[tuple[int, float, float, float, float, float]]
"""Of one picture: (class, score, left, top, right, bottom), in pixels."""
Detect = Callable[[NDArray[np.uint8]], Detections]


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo, uint8[H, W, 3] RGB, and its boxes: float[K, 5] of class, left, top, right, bottom in pixels."""

    name: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]


def load_photos(folder: Path) -> list[LabelledPhoto]:
    """Reads ``images/`` and ``labels_boxes/`` (YOLO text: class, centre and size in 0..1).

    Raises:
        FileNotFoundError: the folder holds no photos.
    """
    photos = []
    for path in sorted((folder / "images").glob("*")):
        image = np.asarray(Image.open(path).convert("RGB"))
        height, width = image.shape[:2]
        label = folder / "labels_boxes" / f"{path.stem}.txt"
        rows = np.array([line.split()[:5] for line in label.read_text().splitlines() if line], float).reshape(-1, 5)
        centre, size = rows[:, 1:3] * (width, height), rows[:, 3:5] * (width, height)
        photos.append(LabelledPhoto(path.stem, image, np.hstack((rows[:, :1], centre - size / 2, centre + size / 2))))
    if not photos:
        raise FileNotFoundError(f"{folder}/images holds no photos")
    return photos


def yolo(weights: Path) -> Detect:
    """An Ultralytics detector, frozen as it is."""
    torchvision_ops.declare()
    with pillow_kept():
        from ultralytics import YOLO  # type: ignore[attr-defined]

    model: Any = YOLO(str(weights))

    def detect(image: NDArray[np.uint8]) -> Detections:
        result = model.predict(
            np.ascontiguousarray(image[:, :, ::-1]), conf=CONFIDENCE, iou=0.7, max_det=MOST_BOXES, verbose=False
        )[0]
        rows: Any = result.boxes.data.cpu().numpy()
        return [(int(r[5]), float(r[4]), *map(float, r[:4])) for r in rows]  # type: ignore[misc]

    return detect
