"""What a stage tells while it runs: a CSV that grows, and the same numbers for TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """One row every so many steps, in ``<name>.csv`` and below ``tensorboard/<name>`` in the stage's folder."""

    def __init__(self, folder: Path, name: str, step: int) -> None:
        """Opens the log of a run in a folder.

        Args:
            step: from which on TensorBoard discards the entries of an earlier run that was stopped.
        """
        self.path = folder / f"{name}.csv"
        self._writer = SummaryWriter(str(folder / "tensorboard" / name), purge_step=step if step else None)

    def row(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Adds a row.

        Args:
            seconds: since the run began or was taken up again.
            values: by column; the same columns in every row of a log.
        """
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "seconds", *values])
            writer.writerow([step, round(seconds, 1), *(f"{value:.5g}" for value in values.values())])
        for name, value in values.items():
            # TensorBoard puts what shares the text before the slash side by side: bpp_0 and bpp_1 under bpp.
            stem, _, level = name.rpartition("_")
            tag = f"{stem}/{level}" if level.isdigit() else name
            self._writer.add_scalar(tag, value, step)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
