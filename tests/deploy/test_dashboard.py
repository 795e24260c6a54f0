"""The dashboard is complete, readable and safe to look at. That its queries return data: test_dashboard_data.py."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import yaml

from tests.deploy.dashboard import DASHBOARD, PANELS
from tests.deploy.places import ROOT

PROVISIONING = ROOT / "deploy/grafana/provisioning"
BOUNDED_LABELS = {"camera", "class", "decision", "instance", "kind", "outcome", "reason", "stage", "tier"}


def rectangle(panel: dict[str, Any]) -> set[tuple[int, int]]:
    grid = panel["gridPos"]
    columns, rows = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
    return set(itertools.product(columns, rows))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_names_its_unit_and_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["description"].endswith(".")


def test_no_panel_lies_over_another_or_beyond_the_edge() -> None:
    for one, other in itertools.combinations(DASHBOARD["panels"], 2):
        assert not rectangle(one) & rectangle(other), (one["title"], other["title"])
    assert all(0 <= x < 24 for panel in DASHBOARD["panels"] for x, _ in rectangle(panel))


def test_panels_have_names_of_their_own() -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in DASHBOARD["panels"]]
        assert len(values) == len(set(values))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_lines_are_drawn_by_labels_with_few_values(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        used = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        grouped = {
            name
            for group in re.findall(r"\b(?:by|without) \(([^)]*)\)", target["expr"])
            for name in re.split(r"\s*,\s*", group)
        }
        assert used | grouped - {"le"} <= BOUNDED_LABELS


def test_the_dashboard_finds_its_data_source_and_grafana_finds_the_dashboard() -> None:
    source = yaml.safe_load((PROVISIONING / "datasources/prometheus.yml").read_text())["datasources"][0]
    used = [DASHBOARD["templating"]["list"][0], *PANELS, *(target for panel in PANELS for target in panel["targets"])]
    assert {(item["datasource"]["type"], item["datasource"]["uid"]) for item in used} == {("prometheus", source["uid"])}
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    folder = yaml.safe_load((PROVISIONING / "dashboards/icm-bridge.yml").read_text())["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in grafana["volumes"]
    assert source["url"] == "http://prometheus:9090"
