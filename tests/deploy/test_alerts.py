"""Every alert is proven to fire when it should and to keep quiet when it should not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.debian_tools import needed
from tests.deploy.places import PROMETHEUS

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
CASES: list[dict[str, Any]] = [
    case
    for test in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    for case in test["alert_rule_test"]
]


def promtool(*arguments: str | Path, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    return subprocess.run([needed("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    result = promtool("check", "config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_alerts_do_what_their_tests_say() -> None:
    result = promtool("test", "rules", "alerts_test.yml")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", [rule["alert"] for rule in RULES])
def test_every_alert_is_shown_firing(name: str) -> None:
    assert any(case["alertname"] == name and case.get("exp_alerts") for case in CASES)


@pytest.mark.parametrize("name", [rule["alert"] for rule in RULES])
def test_an_alert_that_cannot_fire_fails_its_test(name: str, tmp_path: Path) -> None:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for group in groups["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == name:
                rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(groups))
    (tmp_path / "alerts_test.yml").write_text((PROMETHEUS / "alerts_test.yml").read_text())
    result = promtool("test", "rules", "alerts_test.yml", folder=tmp_path)
    assert result.returncode != 0
    assert name in result.stdout + result.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert (
        "{{ $labels.instance }}" in rule["annotations"]["summary"] or "$labels.camera" in rule["annotations"]["summary"]
    )
    assert len(rule["annotations"]["description"]) > 40
