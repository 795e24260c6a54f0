"""What the service and its process for re-detection say to each other, beside ``Work`` and ``Result``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloud_service.processing.engine.base import Problem, Result
from cloud_service.processing.engine.reuse import ReuseBound
from cloud_service.settings import DetectorSettings


@dataclass(frozen=True)
class Start:
    """What to load.

    Attributes:
        bundles: folders of the codec bundles.
        detector: with the job's weights.
        reuse: which frames take over the detections of one before; None if each is looked at.
        device: "cpu" or "cuda".
        threads: CPU threads of a network; 0 for one per core.
        folder: the store's.
    """

    bundles: tuple[Path, ...]
    detector: DetectorSettings
    reuse: ReuseBound | None
    device: str
    threads: int
    folder: Path


@dataclass(frozen=True)
class Started:
    """The answer to ``Start``.

    Attributes:
        batch: the most records that one piece of work may hold.
    """

    batch: int


Answer = Started | Result | Problem
