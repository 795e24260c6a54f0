from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edge_service.cli import main
from tests.edge_service.test_edge_process import BUNDLE


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.yaml"
    cameras = [{"name": "door", "source": {"kind": "submitted"}}]
    path.write_text(yaml.safe_dump({"bundle": str(BUNDLE), "cameras": cameras}))
    return path


def test_check_is_silent_about_nothing_and_says_ok(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(config)]) == 0
    assert capsys.readouterr().out == f"{config}: ok\n"


def test_check_finds_what_run_would_fail_on(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras = "cameras=[{name: gate, source: {kind: file, path: /nowhere.mp4}}]"
    assert main(["check", "--config", str(config), "--set", cameras]) == 2
    assert capsys.readouterr().err.startswith("icm-edge: there is no video file at /nowhere.mp4")


def test_check_looks_at_the_spools_folder_and_leaves_it_as_it_is(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(config), "--set", f"spool.folder={tmp_path}/new/spool"]) == 0
    assert not (tmp_path / "new").exists()
    assert main(["check", "--config", str(config), "--set", f"spool.folder={config}/spool"]) == 2
    assert f"{config} is no folder" in capsys.readouterr().err


def test_a_setting_on_the_command_line_wins(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(config), "--set", "spool.max_bytes=0"]) == 2
    assert "spool.max_bytes" in capsys.readouterr().err


def test_a_malformed_set_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(config), "--set", "threads"]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_config_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--explain"]) == 0
    assert "spool.max_bytes (default 10737418240): " in capsys.readouterr().out
