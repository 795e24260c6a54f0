"""Which weights a job detects with: told apart by their content, as a file of the same name may hold others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cloud_service.settings import CloudSettings, OnnxSettings, YoloSettings
from icm.errors import DetectorError, storage_error

KINDS = ("yolo", "onnx")
_SHOWN = 12
"""Characters of the digest in a model's name."""


@dataclass(frozen=True)
class Weights:
    """A weights file.

    Attributes:
        kind: of the detector that reads it, one of ``KINDS``.
        path: absolute.
        sha256: of its content, hexadecimal.
    """

    kind: str
    path: Path
    sha256: str

    @property
    def model(self) -> str:
        """What events are filed under: the file's name, and the beginning of its digest."""
        return f"{self.path.stem}@{self.sha256[:_SHOWN]}"

    @staticmethod
    def of(path: Path, kind: str | None = None) -> Weights:
        """Reads what tells a file apart.

        Args:
            kind: None to go by the file's name: ``.onnx`` is ONNX, all else YOLO.

        Raises:
            DetectorError: there is no such file.
            StorageError: it cannot be read.
        """
        if not path.is_file():
            raise DetectorError(f"there are no weights {path}: name a .pt file of YOLO's or an .onnx file of YOLOX's")
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise storage_error(error, path) from None
        return Weights(kind or ("onnx" if path.suffix == ".onnx" else "yolo"), path.absolute(), digest)

    def check_unchanged(self) -> None:
        """Checks that the file holds still what it did.

        Raises:
            DetectorError: it is gone, or was replaced.
            StorageError: it cannot be read.
        """
        if Weights.of(self.path, self.kind).sha256 != self.sha256:
            raise DetectorError(
                f"the weights {self.path} were replaced since the job was made: put the file with SHA-256"
                f" {self.sha256[:_SHOWN]} back, or make a new job"
            )

    def detector_settings(self, settings: CloudSettings) -> YoloSettings | OnnxSettings:
        """Settings of a detector with these weights: the cloud's own, where that is of the kind, else the defaults."""
        usual = settings.detector
        if self.kind == "onnx":
            base = usual if isinstance(usual, OnnxSettings) else OnnxSettings(kind="onnx", weights=self.path)
            return base.model_copy(update={"weights": self.path})
        return (usual if isinstance(usual, YoloSettings) else YoloSettings(kind="yolo")).model_copy(
            update={"weights": self.path}
        )
