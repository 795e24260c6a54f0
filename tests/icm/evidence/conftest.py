"""The files of a real evidence file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import contents


@pytest.fixture
def files(cases: dict[str, Path]) -> dict[str, bytes]:
    """The files of gate's case, by name, to be changed."""
    return contents(cases["gate"])
