"""Ultralytics YOLO."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud_service.detection.base import Detection
from cloud_service.detection.weights import check_weights
from icm import torchvision_ops
from icm.errors import DetectorError
from icm.media.pillow_kept import pillow_kept

# A service must not phone home, write into a user's home or install packages; Ultralytics reads these once, on import.
_ENVIRONMENT = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


class YoloDetector:
    """A YOLO model of any generation that Ultralytics reads."""

    def __init__(
        self,
        weights: Path,
        confidence: float,
        batch: int,
        image_size: int,
        device: str,
        threads: int,
        config_folder: Path,
    ) -> None:
        """Loads the model and runs it once, so that the first frame is no slower than the others.

        Args:
            weights: a .pt file.
            confidence: least score of a detection, 0 to 1.
            image_size: longer side, in pixels, that pictures are scaled to.
            device: "cpu" or "cuda".
            threads: CPU threads; 0 for one per core.
            config_folder: where Ultralytics may write its settings.

        Raises:
            DetectorError: the weights are missing or no YOLO model, or the folder cannot be made.
        """
        check_weights(
            weights,
            "run `python -m icm.testing.assets --weights` in a checkout of the project, or take a .pt file from"
            " github.com/ultralytics/assets/releases",
        )
        try:
            config_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DetectorError(f"cannot make the folder {config_folder}: {error.strerror}; set store.folder") from None
        os.environ.update(_ENVIRONMENT, YOLO_CONFIG_DIR=str(config_folder))
        torchvision_ops.declare()
        import torch

        with pillow_kept():
            from ultralytics import YOLO  # type: ignore[attr-defined]

        if threads:
            torch.set_num_threads(threads)
        self._model: Any = None
        self._arguments = {"conf": confidence, "imgsz": image_size, "device": device, "verbose": False, "save": False}
        self._model_name = weights.stem
        self._batch = batch
        try:
            self._model = YOLO(weights, task="detect")
            self.detect([np.zeros((image_size, image_size, 3), np.uint8)])
        except Exception as error:  # whatever unpickling a file that is no model may raise
            raise DetectorError(f"{weights} cannot be used as a YOLO model: {error}; get the file again") from error

    @property
    def model(self) -> str:
        return self._model_name

    @property
    def batch(self) -> int:
        return self._batch

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """See ``Detector.detect``."""
        # Ultralytics takes arrays for OpenCV's, which are BGR.
        reversed_channels = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
        try:
            results = self._model.predict(reversed_channels, **self._arguments)
        except Exception as error:  # torch raises RuntimeError, OutOfMemoryError and more
            raise DetectorError(f"{self._model_name} failed on {len(images)} pictures: {error}") from error
        return [self._detections(result) for result in results]

    def _detections(self, result: Any) -> list[Detection]:
        boxes = result.boxes.cpu().numpy()
        return [
            Detection(result.names[int(number)], float(score), *(float(edge) for edge in box))
            for number, score, box in zip(boxes.cls, boxes.conf, boxes.xyxy, strict=True)
        ]
