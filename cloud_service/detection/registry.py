"""Which detector the settings ask for. Each kind is imported only then: YOLO brings torch, the others do not."""

from __future__ import annotations

from pathlib import Path

from cloud_service.detection.base import Detector
from cloud_service.settings import CloudSettings, DetectorSettings, OnnxSettings, YoloSettings


def load_detector(settings: CloudSettings) -> Detector | None:
    """Loads the detector; None if the settings want none.

    Raises:
        DetectorError: it cannot be loaded.
    """
    return load_wanted(settings.detector, settings.device, settings.threads, settings.store.folder)


def load_wanted(wanted: DetectorSettings, device: str, threads: int, folder: Path) -> Detector | None:
    """Loads a detector; None if none is wanted.

    Args:
        device: "cpu" or "cuda".
        threads: CPU threads; 0 for one per core.
        folder: the store's, where a detector may keep settings of its own.

    Raises:
        DetectorError: it cannot be loaded.
    """
    match wanted:
        case YoloSettings():
            from cloud_service.detection.yolo import YoloDetector

            return YoloDetector(
                wanted.weights,
                wanted.confidence,
                wanted.batch,
                wanted.image_size,
                device,
                threads,
                folder / "ultralytics",
            )
        case OnnxSettings():
            from cloud_service.detection.onnx import OnnxDetector

            return OnnxDetector(wanted.weights, wanted.confidence, device, threads)
        case _:
            return None
