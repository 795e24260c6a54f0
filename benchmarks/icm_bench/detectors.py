"""The frozen detectors that coded pictures are shown to, by their weights files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud_service.detection.coco import CLASSES
from cloud_service.detection.onnx import OnnxDetector
from icm.errors import ConfigError
from icm_train.evaluation.detection import CONFIDENCE, MOST_BOXES, Detect, Detections, yolo


def load(weights: Path) -> Detect:
    """An Ultralytics model (.pt) or a YOLOX one (.onnx).

    Raises:
        ConfigError: the file is missing or neither.
        DetectorError: it is no model of its kind.
    """
    if not weights.is_file():
        raise ConfigError(
            f"there are no detector weights {weights}; docs/results.md says where each detector comes from"
        )
    match weights.suffix:
        case ".pt":
            return yolo(weights)
        case ".onnx":
            return _yolox(weights)
        case _:
            raise ConfigError(f"{weights} is no detector: it takes a .pt of Ultralytics or an .onnx of YOLOX")


def _yolox(weights: Path) -> Detect:
    detector = OnnxDetector(weights, CONFIDENCE, "cpu", 0)
    numbers = {name: number for number, name in enumerate(CLASSES)}

    def detect(image: NDArray[np.uint8]) -> Detections:
        found = sorted(detector.detect([image])[0], key=lambda detection: -detection.score)[:MOST_BOXES]
        return [(numbers[d.class_name], d.score, d.left, d.top, d.right, d.bottom) for d in found]

    return detect
