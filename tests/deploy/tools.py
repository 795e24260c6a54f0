"""Prometheus' own programs, which `make tools` fetches where they are not installed."""

from __future__ import annotations

from pathlib import Path

from tests.debian_tools import needed

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"


def tool(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``. Without it the test is left out, but in CI, where it fails."""
    return needed(name)
