"""A machine for the two services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.machine import Machine


@pytest.fixture
def machine(tmp_path: Path, bundle: Path) -> Iterator[Machine]:
    with ExitStack() as cleanup:
        yield Machine(tmp_path, bundle, cleanup)
