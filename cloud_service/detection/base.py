"""The seam between the pipeline and whatever finds objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detection:
    """One object found.

    Attributes:
        class_name: by the model's own name for it.
        score: confidence, 0 to 1.
        left: left edge of the box, in pixels of the picture from its top left corner, like the other edges.
        top: top edge of the box.
        right: right edge of the box.
        bottom: bottom edge of the box.
    """

    class_name: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Detector(Protocol):
    """Finds objects in pictures. Used by one thread at a time."""

    @property
    def model(self) -> str:
        """What events are filed under, such as "yolo26n"."""
        ...

    @property
    def batch(self) -> int:
        """How many pictures it likes to be given at once, at least 1."""
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """What is in each picture.

        Args:
            images: uint8[H, W, 3] each, RGB; sizes may differ.

        Raises:
            DetectorError: the detector failed on this batch.
        """
        ...
