"""``icm-bench results-page``: the page holds what the JSON files hold, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icm_bench.cli import BENCHMARKS, main
from icm_bench.pages.results_notes import NOTES, TITLES


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Of two benchmarks, one with a plot of its own and one with two."""
    rows = [{"codec": "JPEG", "bpp": 0.25, "low": None}, {"codec": "ours", "bpp": 0.125, "extra": "more"}]
    (tmp_path / "rate_accuracy.json").write_text(json.dumps({"photos": 9, "rows": rows, "finetuning": []}))
    (tmp_path / "training_log.json").write_text(json.dumps({"stages": [{"stage": "base", "steps": 100}]}))
    for name in ("rate_accuracy", "training_log_base", "training_log_finetune"):
        (tmp_path / f"{name}.png").write_bytes(b"picture")
    target = tmp_path / "docs/results.md"
    target.parent.mkdir()
    assert main(["results-page", "--results", str(tmp_path), "--page", str(target)]) == 0
    assert sorted(path.name for path in (target.parent / "images").iterdir()) == [
        "rate_accuracy.png",
        "training_log_base.png",
        "training_log_finetune.png",
    ]
    return target.read_text()


def test_a_section_has_its_facts_its_note_its_plots_and_its_tables(page: str) -> None:
    section = page.split("## ")[1]
    assert section.startswith("Bits against detection\n\n`icm-bench rate-accuracy`: photos 9.\n")
    assert NOTES["rate_accuracy"] in section
    assert "(images/rate_accuracy.png)" in section
    assert "| codec | bpp | low | extra |" in section
    assert "| JPEG | 0.25 |  |  |" in section
    assert "| ours | 0.125 |  | more |" in section
    assert section.count("\n|---|") == 1  # a table without rows is left out


def test_every_stage_of_training_has_its_plot(page: str) -> None:
    assert "(images/training_log_base.png)" in page
    assert "(images/training_log_finetune.png)" in page


def test_what_was_not_measured_has_no_section(page: str) -> None:
    assert page.count("\n## ") == 2


def test_every_section_is_of_a_benchmark_there_is() -> None:
    assert {name.replace("_", "-") for name in TITLES} <= set(BENCHMARKS)
    assert set(NOTES) <= set(TITLES)


@pytest.mark.parametrize("drawn", [True, False])
def test_the_picture_sheet_is_shown_once_it_is_drawn(tmp_path: Path, drawn: bool) -> None:
    (tmp_path / "visual.json").write_text(json.dumps({"bundle": "icm"}))
    sheet = tmp_path / "docs/images/sheet.jpg"
    sheet.parent.mkdir(parents=True)
    if drawn:
        sheet.write_bytes(b"picture")
    page = tmp_path / "docs/results.md"
    assert main(["results-page", "--results", str(tmp_path), "--page", str(page)]) == 0
    assert ("(images/sheet.jpg)" in page.read_text()) == drawn
