"""Where what is deployed lies."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
