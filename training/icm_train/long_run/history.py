"""What became of a long run so far: its losses and measurements as CSV files, and a plot."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from icm.atomic_file import write_atomically
from icm_train.learning.learner import StepResult
from icm_train.learning.measurement import Curve

_EVERY = 50
"""Steps that a row of losses stands for."""


@dataclass(frozen=True)
class Measured:
    """The averaged weights after some steps: hours trained, bits against AVIF in per cent, and their curve."""

    step: int
    hours: float
    against_avif: float
    curve: Curve


class History:
    """Files of a run's folder: ``steps.csv``, ``measured.csv`` and ``curve.png``."""

    def __init__(self, folder: Path) -> None:
        self.losses, self.measured, self.plot = (folder / name for name in ("steps.csv", "measured.csv", "curve.png"))
        self._results: list[StepResult] = []

    def step(self, step: int, seconds: float, result: StepResult) -> None:
        """Counts a step in; every so many become a row."""
        self._results.append(result)
        if step % _EVERY:
            return
        taken = [one for one in self._results if not one.skipped] or self._results
        row: dict[str, object] = {
            "step": step,
            "seconds": round(seconds, 1),
            "loss": _mean([one.loss for one in taken]),
            "gradient": _mean([one.gradient for one in taken]),
            "skipped": sum(one.skipped for one in self._results),
        }
        _append(self.losses, row)
        self._results.clear()

    def add(self, measured: Measured) -> None:
        """Adds a measurement and draws the plot anew."""
        row: dict[str, object] = {
            "step": measured.step,
            "hours": round(measured.hours, 3),
            "against_avif": round(measured.against_avif, 2),
        }
        row |= {f"bpp_{n}": round(value, 5) for n, value in enumerate(measured.curve.bpp)}
        row |= {f"psnr_{n}": round(value, 3) for n, value in enumerate(measured.curve.psnr)}
        _append(self.measured, row)
        self.draw()

    def forget_after(self, step: int) -> None:
        """Removes what was told of steps that were lost with a kill, since they will be taken again."""
        for path in (self.losses, self.measured):
            if rows := read_rows(path):
                kept = [row for row in rows if int(row["step"]) <= step]
                lines = [",".join(rows[0]), *(",".join(row.values()) for row in kept)]
                write_atomically(path, "\n".join(lines) + "\n")

    def draw(self) -> None:
        """Writes the plot of bits against AVIF over the hours."""
        # Imported here: it takes a second, and only measurements need it.
        from matplotlib.figure import Figure

        rows = read_rows(self.measured)
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot([float(r["hours"]) for r in rows], [float(r["against_avif"]) for r in rows], marker="o", markersize=3)
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set_xlabel("hours on one core")
        axes.set_ylabel("bits against AVIF at equal PSNR, %")
        axes.set_title("Long run, 32 held-out photos", fontsize=10)
        axes.grid(alpha=0.3)
        figure.savefig(self.plot, dpi=120)


def read_rows(path: Path) -> list[dict[str, str]]:
    """A CSV file's rows; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(path: Path, row: dict[str, object]) -> None:
    fresh = not path.exists() or not path.stat().st_size
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 5)
