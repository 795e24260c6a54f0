"""Object detectors behind one protocol."""

from cloud_service.detection.base import Detection, Detector
from cloud_service.detection.registry import load_detector

__all__ = ["Detection", "Detector", "load_detector"]
