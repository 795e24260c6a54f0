"""Weights files, which the project cannot ship."""

from __future__ import annotations

from pathlib import Path

from icm.errors import DetectorError


def check_weights(path: Path, how_to_get: str) -> None:
    """Checks that the detector's weights are there.

    Raises:
        DetectorError: there is no such file; says how to get it.
    """
    if not path.is_file():
        raise DetectorError(f"the detector's weights {path} are missing: {how_to_get}, and set detector.weights to it")
