"""The dashboard as data."""

from __future__ import annotations

import json
from typing import Any

from tests.deploy.places import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/icm-bridge.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries(camera: str = ".*") -> list[tuple[str, str]]:
    """Each panel's title with each of its queries, for the cameras that the pattern fits."""
    return [
        (panel["title"], target["expr"].replace("$camera", camera)) for panel in PANELS for target in panel["targets"]
    ]
