"""YOLOX on ONNX Runtime alone: a permissive licence and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from cloud_service.detection.base import Detection
from cloud_service.detection.coco import CLASSES
from cloud_service.detection.weights import check_weights
from icm.errors import DetectorError

_STRIDES = (8, 16, 32)
_PADDING = 114
_OVERLAP = 0.45
"""Boxes of one class that overlap more than this (IoU) are one object."""


class OnnxDetector:
    """A YOLOX model as its own exporter writes it: raw outputs float32[1, cells, 5 + 80], boxes still on the grid."""

    def __init__(self, weights: Path, confidence: float, device: str, threads: int) -> None:
        """Loads the model.

        Args:
            weights: an .onnx file.
            confidence: least score of a detection, 0 to 1.
            device: "cpu" or "cuda".
            threads: CPU threads; 0 for one per core.

        Raises:
            DetectorError: the weights are missing or no such model.
        """
        check_weights(weights, "take yolox_nano.onnx from github.com/Megvii-BaseDetection/YOLOX/releases")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        try:
            self._session = onnxruntime.InferenceSession(weights, options, providers=[provider])
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise DetectorError(f"{weights} cannot be used as an ONNX model: {error}; get the file again") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._input = inputs[0].name
        shape, cells = inputs[0].shape, outputs[0].shape[1:]
        self._side = shape[-1]
        if not isinstance(self._side, int) or shape != [1, 3, self._side, self._side]:
            raise DetectorError(f"{weights} takes {shape}; a YOLOX model of fixed square size takes [1, 3, side, side]")
        self._grid, self._stride = _grid(self._side)
        if cells != [len(self._grid), 5 + len(CLASSES)]:
            raise DetectorError(f"{weights} gives {cells} per picture, not the {len(self._grid)} cells of a COCO YOLOX")
        self._confidence = confidence
        self._model_name = weights.stem

    @property
    def model(self) -> str:
        return self._model_name

    @property
    def batch(self) -> int:
        """1: the exported graph takes one picture."""
        return 1

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """See ``Detector.detect``."""
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        boxed, scale = letterbox(image, self._side)
        # YOLOX was trained on OpenCV's BGR, 0 to 255.
        tensor = boxed[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        try:
            raw = np.asarray(self._session.run(None, {self._input: tensor})[0], np.float32)[0]
        except Exception as error:
            raise DetectorError(f"{self._model_name} failed: {error}") from error
        centre = (raw[:, :2] + self._grid) * self._stride
        half = np.exp(raw[:, 2:4]) * self._stride / 2
        boxes = np.hstack([centre - half, centre + half]) / scale
        height, width = image.shape[:2]
        boxes = boxes.clip(0, (width, height, width, height))
        scores = raw[:, 4:5] * raw[:, 5:]
        best = scores.argmax(1)
        score = scores[np.arange(len(best)), best]
        kept = np.flatnonzero(score >= self._confidence)
        kept = kept[suppress(boxes[kept], score[kept], best[kept])]
        return [Detection(CLASSES[best[i]], float(score[i]), *(float(edge) for edge in boxes[i])) for i in kept]


def letterbox(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """Scales a picture uint8[H, W, 3] into the top left of a grey square uint8[side, side, 3]; the scale too."""
    height, width = image.shape[:2]
    scale = min(side / height, side / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = np.full((side, side, 3), _PADDING, np.uint8)
    square[: size[1], : size[0]] = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return square, scale


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class: boxes [N, 4] -> indexes of the kept, best score first."""
    # Moving each class into a plane of its own lets one pass serve all of them.
    apart = boxes + (classes[:, None] * (boxes.max(initial=0) + 1)).astype(np.float32)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(apart[best, :2], apart[rest, :2])
        high = np.minimum(apart[best, 2:], apart[rest, 2:])
        overlap = (high - low).clip(0).prod(1)
        union = area[best] + area[rest] - overlap
        order = rest[overlap <= _OVERLAP * union]
    return np.array(kept, np.int64)


def _grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corner [cells, 2] and stride [cells, 1] of every output cell, finest grid first."""
    corners, strides = [], []
    for stride in _STRIDES:
        count = side // stride
        y, x = np.mgrid[:count, :count]
        corners.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((count * count, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
