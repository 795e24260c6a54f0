"""How every benchmark speaks: a table on the terminal and a JSON file with the same figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks/results")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table; numbers to the right."""
    text = [[_shown(value) for value in row] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in text)) for i, column in enumerate(columns)]
    print("  ".join(column.rjust(width) for column, width in zip(columns, widths, strict=True)))
    for row in text:
        print("  ".join(value.rjust(width) for value, width in zip(row, widths, strict=True)))


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A plain table of rows by column; a column that a row lacks stays empty in it."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print_table(columns, [[row.get(column, "") for column in columns] for row in rows])


def write_json(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes ``<name>.json`` with the figures and what machine they were taken on."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": machine, **figures}, indent=1) + "\n")
    return path


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
