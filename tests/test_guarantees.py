"""Every test that docs/guarantees.md and docs/threat-model.md name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_test_that_holds_a_guarantee_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/guarantees.md").read_text())
    missing = [f"{path}::{name}" for path, name in named if name not in functions(ROOT / path)]
    assert len(named) > 20
    assert not missing


def test_every_guarantee_has_a_test() -> None:
    rows = [line.split("|") for line in (ROOT / "docs/guarantees.md").read_text().splitlines() if line.startswith("|")]
    assert [promise for _, promise, held, _ in rows[2:] if "::test_" not in held] == []


def test_every_file_that_answers_a_threat_exists() -> None:
    rows = [line.split("|") for line in (ROOT / "docs/threat-model.md").read_text().splitlines() if line[:1] == "|"]
    for _, threat, _, held, _ in rows[2:]:
        named = re.findall(r"`([\w/.]+)`", held)
        assert named, f"nothing holds: {threat}"
        missing = [name for name in named if not any(ROOT.glob(f"tests/**/{name.removeprefix('tests/')}"))]
        assert not missing


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
