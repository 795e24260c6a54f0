"""Prometheus' own programs, which `make tools` fetches where they are not installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.debian_tools import path_of

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"


def tool(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``. Without it the test is left out, but in CI, where it fails."""
    path = path_of(name)
    if path is None:
        reason = f"needs {name}: make tools"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return path
