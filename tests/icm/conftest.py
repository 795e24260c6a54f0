"""A codec of the shipped bundle, pictures to code, and evidence files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from tests.cases import make_cases


@pytest.fixture(scope="session")
def codec(bundle: Path) -> Bundle:
    """The shipped bundle, loaded."""
    return Bundle.load(bundle, threads=1)


@pytest.fixture(scope="session")
def cases(codec: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By camera, gate, yard and lobby, an evidence file that a real cloud made."""
    return asyncio.run(make_cases(tmp_path_factory.mktemp("cases"), codec))


@pytest.fixture(scope="session")
def scene() -> NDArray[np.uint8]:
    """uint8[100, 150, 3]: slopes, an edge and a texture; no side is a multiple of 16."""
    row, column = np.mgrid[0:100, 0:150]
    noise = np.random.default_rng(5).integers(0, 30, (100, 150))
    planes = np.stack([row + column, np.where(column > 70, 200, 60), 90 + noise], -1)
    return planes.clip(0, 255).astype(np.uint8)
