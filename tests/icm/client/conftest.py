"""Real services to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import Services, running_services


@pytest.fixture(scope="package")
def services(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Services]:
    with running_services(tmp_path_factory.mktemp("services"), bundle) as services:
        yield services


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Services]:
    """The same behind mutual TLS, with tokens for the edge's clients."""
    with running_services(tmp_path_factory.mktemp("secured"), bundle, secured=True) as services:
        yield services
