"""``icm-bench training-log``: how training went, drawn from the CSV logs of its stages."""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.errors import ConfigError
from icm_bench.report import RESULTS, write_json

POINTS = 80
"""At most so many along a curve; each is the mean of the rows it stands for."""
_UNTOLD = ("step", "seconds")


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench training-log", description=__doc__)
    parser.add_argument("logs", type=Path, nargs="+", help="CSV logs of stages, in the order they ran")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    stages = [read(path) for path in options.logs]
    rows = [
        {"stage": stage["stage"], "steps": stage["steps"], "hours": stage["hours"], **stage["last"]} for stage in stages
    ]
    print(f"written to {write_json('training_log', {'stages': rows}, options.results)}")
    for stage in stages:
        path = options.results / f"training_log_{stage['stage']}.png"
        plot(stage, path)
        print(f"drawn to {path}")
    return 0


def read(path: Path) -> dict[str, Any]:
    """A stage's log: steps, hours, panels of curves by level, and what the end of every curve is.

    Columns whose names end in ``_0``, ``_1`` and so on share a panel. A run that was taken up again counts its seconds
    from there; a step that was run twice counts as it was run last.

    Raises:
        ConfigError: the file is missing or no such log.
    """
    try:
        with path.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, TypeError, ValueError) as error:
        raise ConfigError(f"cannot read the training log {path}: {error}") from None
    if not rows or not {"step", "seconds"} <= set(rows[0]):
        raise ConfigError(f"{path} is no training log: it has no rows of step and seconds")
    seconds = [row["seconds"] for row in rows]
    spent = seconds[-1] + sum(a for a, b in pairwise(seconds) if b < a)
    kept = sorted({row["step"]: row for row in rows}.values(), key=lambda row: row["step"])
    steps = np.array([row["step"] for row in kept])
    panels: dict[str, dict[str, Any]] = {}
    last = {}
    for column in kept[0]:
        if column in _UNTOLD:
            continue
        stem, level = re.fullmatch(r"(.+?)(?:_(\d+))?", column).groups()  # type: ignore[union-attr]
        values = np.array([row[column] for row in kept])
        panels.setdefault(stem, {})[level or ""] = thinned(steps, values)
        last[column] = float(f"{values[-max(1, len(values) // 20) :].mean():.4g}")
    return {
        "stage": path.stem,
        "steps": int(steps[-1]),
        "hours": round(spent / 3600, 2),
        "panels": panels,
        "last": last,
    }


def thinned(steps: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Steps and values, float64[K] each, as at most ``POINTS`` means of neighbours."""
    parts = min(POINTS, len(steps))
    return tuple([float(part.mean()) for part in np.array_split(line, parts)] for line in (steps, values))  # type: ignore[return-value]


def plot(stage: dict[str, Any], path: Path) -> None:
    """Draws the panels of a stage as ``read`` gives them, a curve per level, to a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = stage["panels"]
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure, grid = pyplot.subplots(lines, columns, figsize=(4 * columns, 2.8 * lines), squeeze=False)
    shades = pyplot.get_cmap("viridis")
    for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
        for number, (level, (steps, values)) in enumerate(curves.items()):
            colour = shades(0.9 * number / max(1, len(curves) - 1))
            axes.plot(steps, values, color=colour, linewidth=1, label=f"level {level}" if level else None)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    # Every panel with levels has the same ones, in the same colours: one legend beside all.
    handles, labels = max((axes.get_legend_handles_labels() for axes in grid.flat), key=lambda pair: len(pair[1]))
    if labels:
        figure.legend(handles[::-1], labels[::-1], loc="center right", frameon=False, fontsize=8)
    figure.suptitle(f"{stage['stage']}: {stage['steps']} steps, {stage['hours']} h", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1 - 0.9 / figure.get_figwidth() if labels else 1, 1))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
