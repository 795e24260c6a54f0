"""The loop that the stages of training share: steps, learning rate, log, checkpoints, and going on where it stopped."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from icm_train.log import TrainingLog
from icm_train.schedule import cosine, warm_up
from icm_train.weights.checkpoint import save_checkpoint, source_of

log = logging.getLogger(__name__)

Metrics = Mapping[str, Tensor]
"""What a step came to, by name: scalars, or float[L] with a value for each quality level; on any device."""


def training_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Pace:
    """How long a loop runs, and what it does how often; all in steps.

    Attributes:
        steps: in all; the learning rate falls along a cosine to 2 % over them.
        warmup: over which the learning rate rises at the start.
        save_every: between checkpoints; there is one at the end too.
        log_every: between rows of the log, each of which holds the means since the one before.
    """

    steps: int
    save_every: int
    log_every: int
    warmup: int = 1


class Stage(ABC):
    """What a loop drives: networks, their optimisers and a supply of examples."""

    @abstractmethod
    def step(self, taken: int, share: float) -> Metrics:
        """Takes one optimiser step.

        Args:
            taken: steps that were taken before.
            share: of the peak learning rates, 0..1.

        Returns:
            The same names and shapes at every step. The loop takes their means.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of the stage beside ``step`` and ``source``, which are the loop's."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Takes over a checkpoint.

        Args:
            state: what ``state`` gave, and with it ``step``; also as earlier versions wrote it.
        """

    def fits(self, state: dict[str, Any]) -> bool:
        """Whether a checkpoint of the same source is of the networks that this stage trains."""
        return True

    def row(self, means: Metrics) -> dict[str, float]:
        """A row of the log.

        Args:
            means: of what ``step`` gave, over the steps since the last row.

        Returns:
            A column for each scalar; for float[L] the columns ``<name>_0``, ``<name>_1`` and so on.
        """
        columns: dict[str, float] = {}
        for name, mean in means.items():
            if mean.ndim:
                columns |= {f"{name}_{level}": value for level, value in enumerate(mean.tolist())}
            else:
                columns[name] = float(mean)
        return columns


class Loop:
    """Runs a stage. Its checkpoint is ``<name>.pt`` in the run's folder, its log ``<name>.csv``.

    Attributes:
        checkpoint: the file.
        taken: steps taken so far, those before a stop included.
    """

    def __init__(self, name: str, stage: Stage, pace: Pace, folder: Path, *, source: str | None = None) -> None:
        """Prepares the loop; nothing is read or written yet.

        Args:
            name: of the stage.
            stage: as it is before its first step.
            pace: how long and how often.
            folder: the run's.
            source: digest of what the stage works on, which a checkpoint must have been made from for the loop to go
                on from it; None where a checkpoint stands for itself.
        """
        self.checkpoint = folder / f"{name}.pt"
        self.taken = 0
        self._name, self._stage, self._pace, self._folder, self._source = name, stage, pace, folder, source
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    def resume(self) -> bool:
        """Goes on from the checkpoint, if there is one that was made from the same source.

        Returns:
            Whether there was.
        """
        if not self.checkpoint.exists():
            return False
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=training_device(), weights_only=True)
        if source_of(state) != self._source or not self._stage.fits(state):
            return False
        self._stage.load(state)
        self.taken = state["step"]
        log.info("%s: resuming at step %d", self._name, self.taken)
        return True

    def run(self) -> None:
        """Takes the steps that are left, logging and saving on the way; none if all were taken."""
        pace = self._pace
        if self.taken >= pace.steps:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        progress = tqdm(total=pace.steps, initial=self.taken, desc=self._name, unit="step", mininterval=10)
        with progress, TrainingLog(self._folder, self._name, self.taken) as written:
            while self.taken < pace.steps:
                share = warm_up(self.taken, pace.warmup) * cosine(self.taken, pace.steps)
                self._add(self._stage.step(self.taken, share))
                self.taken += 1
                progress.update()
                if self.taken % pace.log_every == 0:
                    written.row(self.taken, time.monotonic() - started, self._stage.row(self._means()))
                if self.taken % pace.save_every == 0 or self.taken == pace.steps:
                    self._save()

    def _add(self, metrics: Metrics) -> None:
        # Summed where they are: fetching them from a GPU at every step would make it wait.
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value.detach() if name in self._sums else value.detach()
        self._summed += 1

    def _means(self) -> Metrics:
        means = {name: value / self._summed for name, value in self._sums.items()}
        self._sums, self._summed = {}, 0
        return means

    def _save(self) -> None:
        save_checkpoint(self.checkpoint, self._stage.state() | {"step": self.taken, "source": self._source})
