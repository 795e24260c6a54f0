"""``icm-bench verify``, as small as it goes."""

from __future__ import annotations

import json
from pathlib import Path

from icm_bench.cli import main


def test_verification_is_measured_beside_sha256sum_on_the_same_files(tmp_path: Path) -> None:
    small = ["--segments", "20", "--size", "1000", "--rounds", "1", "--folder", str(tmp_path)]
    assert main(["verify", *small, "--results", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "verify.json").read_text())
    assert figures["segments"] == 20
    assert [row["way"] for row in figures["rows"]] == ["verify", "verify, files alone", "verify --deep", "sha256sum"]
    assert all(row["segments/s"] > 0 for row in figures["rows"])
    assert figures["rows"][-1]["time of sha256sum"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["verify.json"], "the store is removed"
