"""Which detector the settings ask for. Each kind is imported only then: YOLO brings torch, the others do not."""

from __future__ import annotations

from cloud_service.detection.base import Detector
from cloud_service.settings import CloudSettings, OnnxSettings, YoloSettings


def load_detector(settings: CloudSettings) -> Detector | None:
    """Loads the detector; None if the settings want none.

    Raises:
        DetectorError: it cannot be loaded.
    """
    wanted = settings.detector
    match wanted:
        case YoloSettings():
            from cloud_service.detection.yolo import YoloDetector

            return YoloDetector(
                wanted.weights,
                wanted.confidence,
                wanted.batch,
                wanted.image_size,
                settings.device,
                settings.threads,
                settings.store.folder / "ultralytics",
            )
        case OnnxSettings():
            from cloud_service.detection.onnx import OnnxDetector

            return OnnxDetector(wanted.weights, wanted.confidence, settings.device, settings.threads)
        case _:
            return None
