"""``icm-bench results-page``: writes docs/results.md from the JSON files that the other benchmarks left."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icm_bench.pages.results_notes import NOTES, TITLES
from icm_bench.report import RESULTS

SHEET = "sheet.jpg"
"""Among the page's images, where ``icm-bench sheet`` draws it."""
_INTRODUCTION = """# Results

Written by `icm-bench results-page` from the JSON files in `benchmarks/results/`. Each section names the command that
measured it.
"""


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench results-page", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    sections = [_INTRODUCTION]
    for name, title in TITLES.items():
        file = options.results / f"{name}.json"
        if file.exists():
            sections.append(_section(name, title, json.loads(file.read_text()), options))
    options.page.write_text("\n".join(sections))
    print(f"written to {options.page}")
    return 0


def _section(name: str, title: str, figures: dict[str, Any], options: argparse.Namespace) -> str:
    facts = ", ".join(f"{key} {_plain(value)}" for key, value in figures.items() if not isinstance(value, list))
    lines = [f"## {title}", "", f"`icm-bench {name.replace('_', '-')}`: {facts}.", ""]
    if name in NOTES:
        lines += [NOTES[name], ""]
    for plot in (options.results / f"{name}.png", *sorted(options.results.glob(f"{name}_*.png"))):
        if plot.exists():
            images = options.page.parent / "images"
            images.mkdir(parents=True, exist_ok=True)
            shutil.copy(plot, images / plot.name)
            lines += [f"![{title}](images/{plot.name})", ""]
    sheet = options.page.parent / "images" / SHEET
    if name == "visual" and sheet.exists():
        lines += [f"![Crops of originals, JPEG, AVIF and ours at equal bits](images/{SHEET})", ""]
    for value in figures.values():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [*_table(value), ""]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(_plain(row.get(column, "")) for column in columns) + " |" for row in rows]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) + ")"
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
