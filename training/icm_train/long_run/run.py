"""The long run itself: takes up its last checkpoint, trains, saves, measures, and stops when it is told to."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from icm.errors import ConfigError
from icm_train.learning.learner import Learner
from icm_train.learning.measurement import HeldOut, bits_against
from icm_train.learning.photos import TrainingCrops
from icm_train.learning.start import fresh_codec, with_what_fits
from icm_train.long_run.checkpoints import Checkpoints, stored_precision
from icm_train.long_run.config import LongRunConfig
from icm_train.long_run.history import History, Measured, read_rows
from icm_train.long_run.schedule import Finish, share_of_peak
from icm_train.models.codec import TrainableCodec
from icm_train.models.networks import network_of
from icm_train.weights.checkpoint import load_codec
from icm_train.weights.saved_run import load_saved

log = logging.getLogger(__name__)

_LOOKED_AT = 1.0
"""Seconds within which a lock is free again that was only looked at."""


class LongRun:
    """One run in its folder; ``run`` may be stopped, by a kill too, and called again for as long as one likes."""

    def __init__(self, config: LongRunConfig, shard: Path, folder: Path, saved: Path | None = None) -> None:
        """Begins a run in a folder, or takes up the one that its checkpoint holds.

        Args:
            saved: averaged weights of the run on another machine, for a folder that has no checkpoint.
        """
        self.config, self.folder = config, folder
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.history = History(folder)
        self._crops = TrainingCrops(shard, config.recipe)
        self._held_out = HeldOut(shard)
        self._saved_at: int | None = None
        self.learner, self._seconds = self._begin(saved)

    def run(self, minutes: float | None = None, steps: int | None = None) -> None:
        """Trains until the run's finish; or for about so many minutes, or until this step, whichever comes first.

        Whoever calls this holds the folder (``only_one``).
        """
        self.history.forget_after(self.learner.step)
        if self.learner.step and self.learner.step % self.config.measure_every == 0:
            self._measure_once()  # a kill may have come in between
        started = time.monotonic()
        while not self._is_over(steps):
            self._wait_while_paused()
            if minutes is not None and time.monotonic() - started > 60 * minutes:
                break
            began = self._clock()
            result = self.learner.advance(share_of_peak(self.learner.step, Finish.read(self.folder)))
            self._seconds += self._clock() - began
            self.history.step(self.learner.step, self._seconds, result)
            if self.learner.step % self.config.save_every == 0:
                self.save()
            if self.learner.step % self.config.measure_every == 0:
                self._measure_once()
        if self.learner.step != self._saved_at:
            self.save()
        if (finish := Finish.read(self.folder)) and self.learner.step >= finish.end:
            self._measure_once()
            (self.folder / "finished").touch()

    def save(self) -> None:
        """Writes a checkpoint.

        Raises:
            ConfigError: the weights are not finite; the last good checkpoint stays.
        """
        state = self.learner.state()
        stored_precision(state)
        facts = {
            "seconds": self._seconds,
            "optimiser_since": self.learner.optimiser_since,
            "network": asdict(self.config.network),
            "recipe": asdict(self.config.recipe),
        }
        try:
            self.checkpoints.save(self.learner.step, state, facts)
        except ValueError as error:
            raise ConfigError(
                f"the long run went astray: {error}; start it again to go on from the last good checkpoint, with a"
                " lower rate"
            ) from None
        self._saved_at = self.learner.step

    def measured(self, codec: TrainableCodec) -> Measured:
        """Measures a codec on the held-out photos, as that of this step."""
        curve = self._held_out.measure(codec, self.config.recipe.rate_on)
        against = bits_against(self._held_out.avif, curve)
        return Measured(self.learner.step, self._seconds / 3600, against, curve)

    def _measure_once(self) -> None:
        """Measures the averaged weights and adds them to the run's history, unless that is there."""
        if any(int(row["step"]) == self.learner.step for row in read_rows(self.history.measured)):
            return
        measured = self.measured(self.learner.averaged())
        self.history.add(measured)
        log.info("step %d: %+.2f %% bits against AVIF", measured.step, measured.against_avif)

    def _clock(self) -> float:
        """Seconds: on a CPU those that this process had, so that what else the machine does does not count."""
        return time.process_time() if self.learner.device.type == "cpu" else time.monotonic()

    def _begin(self, saved: Path | None) -> tuple[Learner, float]:
        """A learner where the run stands, and the seconds that it took to get there."""
        found = self.checkpoints.newest()
        if found is None and saved is not None and saved.exists():
            return self._from_saved(saved)
        learner = Learner(self._untrained(), self.config.recipe, self._crops)
        if found is None:
            return learner, 0.0
        step, state, facts = found
        before, now = network_of(facts["network"]), self.config.network
        if replace(before, likelihood=now.likelihood) != now:
            raise ConfigError(f"the checkpoints in {self.checkpoints.folder} are of other networks than the config's")
        learner.optimiser_since = facts["optimiser_since"]
        if before != now or facts["recipe"]["optimiser"] != self.config.recipe.optimiser:
            log.warning("the optimiser or what it moves is another than before: it starts anew")
            state = {name: value for name, value in state.items() if not name.startswith("optimiser/")}
            learner.optimiser_since = step
        learner.load(state, step)
        log.info("going on from step %d", step)
        return learner, float(facts["seconds"])

    def _from_saved(self, saved: Path) -> tuple[Learner, float]:
        codec, facts = load_saved(saved)
        if replace(codec.config, likelihood=self.config.network.likelihood) != self.config.network:
            raise ConfigError(f"{saved} holds other networks than the config's: name another file with --saved")
        codec = with_what_fits(TrainableCodec(self.config.network), codec, branches=True)
        learner = Learner(codec, self.config.recipe, self._crops)
        learner.step = learner.optimiser_since = facts.step
        log.info("going on from %s, step %d, the optimiser anew", saved, facts.step)
        return learner, 3600 * facts.hours

    def _untrained(self) -> TrainableCodec:
        codec = fresh_codec(self.config.network, self._crops, self.config.recipe.seed)
        if self.config.start is not None and self.checkpoints.newest() is None:
            codec = with_what_fits(codec, load_codec(self.config.start)[0], branches=False)
        return codec

    def _is_over(self, steps: int | None) -> bool:
        finish = Finish.read(self.folder)
        return (steps is not None and self.learner.step >= steps) or (
            finish is not None and self.learner.step >= finish.end
        )

    def _wait_while_paused(self) -> None:
        while paused(self.folder).exists():
            time.sleep(0.5)


def paused(folder: Path) -> Path:
    """The file that holds a run up while it is there."""
    return folder / "paused"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the run's folder; raises ConfigError: another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        until = time.monotonic() + _LOOKED_AT
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Who asks where a run is holds the lock for a moment too.
                if time.monotonic() > until:
                    raise ConfigError(
                        f"the long run in {folder} is going already, as process {owner(folder)}"
                    ) from None
                time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def owner(folder: Path) -> int | None:
    """The process that the run is going in, or None."""
    lock = folder / "lock"
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read()
            return int(text) if text else 0
    return None
