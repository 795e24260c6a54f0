"""``icm-train long``: starts, watches, holds up, ends and keeps a long run."""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from icm.errors import ConfigError
from icm_train.config import CONFIGS
from icm_train.data.photo_shard import pack
from icm_train.long_run.checkpoints import Checkpoints
from icm_train.long_run.config import load_long_config
from icm_train.long_run.history import History, read_rows
from icm_train.long_run.run import LongRun, only_one, owner, paused
from icm_train.long_run.schedule import Finish
from icm_train.long_run.travel import pack_small
from icm_train.pipeline import SHARD
from icm_train.weights.saved_run import GAIN_TO_SAVE, SavedFacts, load_saved, save_weights

_LARGEST_PHOTO = 2048
"""Pixels of a packed photo's longer side: reduced crops of large photos are the cleanest there are."""
_STARTS_WITHIN = 600.0
"""Seconds that a run in the background may take until it trains: AVIF's curve is measured first, once."""
_NICENESS = 10


def add_long(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its subcommands to ``icm-train``."""
    parser = commands.add_parser("long", help="train the transforms for days, on one core in the background")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, meaning: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=meaning)
        command.add_argument("--folder", type=Path, default=Path(".cache/long-run"), help="the run's")
        command.set_defaults(run=run, threads=1)
        return command

    start = verb("start", "start the run in the background, or go on with it, and say where it is", _start)
    going = verb("run", "the same in the foreground", _run)
    going.add_argument("--minutes", type=float, help="stop after about so many minutes of training")
    going.add_argument("--steps", type=int, help="stop at this step")
    for command in (start, going):
        command.add_argument("--photos", type=Path, nargs="+", default=[], help="folders; not needed once packed")
    verb("status", "where the run is", _status)
    verb("pause", "hold the run up, once it has measured if it does so now", lambda options: _pause(options.folder))
    verb("resume", "let a run that was held up go on", lambda options: paused(options.folder).unlink(missing_ok=True))
    finish = verb("finish", "let the learning rate fall to nothing from now on, then end", _finish)
    finish.add_argument("--hours", type=float, default=3.0, help="until the end")
    save = verb("save", "measure the averaged weights and keep them as one small file", _save)
    packing = verb("pack", "the photos as one small zip file, for a machine that takes no more", _pack_small)
    packing.add_argument("--photos", type=Path, nargs="+", required=True, help="folders")
    packing.add_argument("--megabytes", type=float, default=55.0, help="the most that the file may take")
    packing.add_argument("--archive", type=Path, default=Path(".cache/photos.zip"), help="the file")
    for command in (start, going, save):
        command.add_argument("--config", type=Path, default=CONFIGS / "long-run.yaml")
        command.add_argument("--saved", type=Path, default=Path("models/long-run.pt"), help="the small file")


def _start(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    if (folder / "finished").exists():
        print("the run has ended:")
    elif owner(folder) is None:
        with only_one(folder):
            _pack(options)
        load_long_config(options.config)  # what is wrong with it is better said here than in a log
        log, ready = folder / "log.txt", _ready(folder)
        ready.unlink(missing_ok=True)
        # By its own name, so that a list of processes says what it is.
        command = [str(Path(sys.executable).with_name("icm-train")), "long", "run", "--folder", str(folder)]
        command += ["--config", str(options.config), "--saved", str(options.saved)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        _wait_until_going(process, ready, log)
    _status(options)


def _wait_until_going(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while not ready.exists():
        if process.poll() is not None:
            raise ConfigError(f"the long run ended at once, see {log}: {log.read_text()[-500:].strip()}")
        if time.monotonic() > until:
            raise ConfigError(f"the long run, process {process.pid}, does not train yet; what it does is in {log}")
        time.sleep(0.5)


def _ready(folder: Path) -> Path:
    """A file that says that the run trains."""
    return folder / "ready"


def _run(options: argparse.Namespace) -> None:
    config = load_long_config(options.config)
    os.nice(_NICENESS)
    with only_one(options.folder):
        _pack(options)
        run = LongRun(config, options.folder / SHARD, options.folder, options.saved)
        _ready(options.folder).touch()
        run.run(options.minutes, options.steps)


def _pack(options: argparse.Namespace) -> None:
    shard = options.folder / SHARD
    if shard.exists():
        return
    if not options.photos:
        raise ConfigError(f"there is no shard {shard} yet: say where photos are with --photos FOLDER")
    pack(options.photos, shard, largest=_LARGEST_PHOTO)


def _pack_small(options: argparse.Namespace) -> None:
    packed, found = pack_small(options.photos, options.archive, options.megabytes, _LARGEST_PHOTO)
    print(f"{options.archive}: {packed} of {found} photos, {options.archive.stat().st_size} bytes")


def _status(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    process = owner(folder)
    state = "held up" if paused(folder).exists() else "going"
    if (folder / "finished").exists():
        state = "finished"
    elif process is None:
        state = "stopped"
    history = History(folder)
    losses, measured = read_rows(history.losses), read_rows(history.measured)
    print(f"{folder}: {state}" + (f" as process {process}" if process else ""))
    if losses:
        last, rate = losses[-1], _steps_per_hour(losses)
        hours = float(last["seconds"]) / 3600
        print(f"step {last['step']} after {hours:.2f} hours, {rate:.0f} steps an hour, loss {float(last['loss']):.4f}")
    if finish := Finish.read(folder):
        print(f"the learning rate falls from step {finish.start} on, to nothing at step {finish.end}")
    for row in measured[-3:]:
        print(f"step {row['step']}: {float(row['against_avif']):+.2f} % bits against AVIF at equal PSNR")


def _steps_per_hour(losses: list[dict[str, str]]) -> float:
    first, last = losses[-min(len(losses), 20)], losses[-1]
    seconds = float(last["seconds"]) - float(first["seconds"])
    if seconds <= 0:  # one row only
        return 3600 * int(last["step"]) / max(1e-9, float(last["seconds"]))
    return 3600 * (int(last["step"]) - int(first["step"])) / seconds


def _pause(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    paused(folder).touch()


def _finish(options: argparse.Namespace) -> None:
    losses = read_rows(History(options.folder).losses)
    if not losses:
        raise ConfigError(f"there is no run in {options.folder} that could end: start one with icm-train long start")
    if options.hours <= 0:
        raise ConfigError(f"--hours must be above 0, not {options.hours:g}")
    finish = Finish(int(losses[-1]["step"]), max(1, round(options.hours * _steps_per_hour(losses))))
    finish.order(options.folder)
    print(f"the learning rate falls from step {finish.start} on; the run ends at step {finish.end}")


def _save(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    if Checkpoints(folder / "checkpoints").newest() is None:
        raise ConfigError(f"there is no checkpoint in {folder} to save: start a run with icm-train long start")
    run = LongRun(load_long_config(options.config), folder / SHARD, folder)
    codec = run.learner.averaged()
    measured = run.measured(codec)
    if not math.isfinite(measured.against_avif):
        raise ConfigError("not saved: the weights and AVIF have no PSNR in common, so there is nothing to compare")
    facts = SavedFacts(measured.step, round(measured.hours, 3), round(measured.against_avif, 2))
    if options.saved.exists():
        before = load_saved(options.saved)[1].against_avif
        gain = 100 * (1 - (100 + facts.against_avif) / (100 + before))
        print(f"{gain:.1f} % fewer bits than the weights saved before, {before:+.2f} % against AVIF")
        if gain < GAIN_TO_SAVE:
            raise ConfigError(
                f"not saved: {options.saved} is replaced by weights that take {GAIN_TO_SAVE:g} % fewer bits"
            )
    size = save_weights(options.saved, codec, facts)
    print(f"step {facts.step}: {facts.against_avif:+.2f} % bits against AVIF; {options.saved}, {size} bytes")
