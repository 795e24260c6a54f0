"""Real evidence files, made once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from icm.codec.bundle.loading import Bundle
from tests.cases import contents, make_cases


@pytest.fixture(scope="session")
def loaded(bundle: Path) -> Bundle:
    """The shipped bundle, loaded."""
    return Bundle.load(bundle, threads=1)


@pytest.fixture(scope="session")
def cases(loaded: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By camera, gate and yard, an evidence file that a real cloud made."""
    return asyncio.run(make_cases(tmp_path_factory.mktemp("cases"), loaded))


@pytest.fixture
def files(cases: dict[str, Path]) -> dict[str, bytes]:
    """The files of gate's case, by name, to be changed."""
    return contents(cases["gate"])
