"""``icm-cloud redetect``: makes jobs in the database, from which the running service takes them, and shows them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.settings import CloudSettings
from cloud_service.time_arguments import add_time_argument, microseconds_of
from icm.config.assignments import parse_assignments
from icm.config.settings import load_settings
from icm.errors import ConfigError, StorageError
from icm.service.command_line import say
from icm.service.telemetry import configure_logging

if TYPE_CHECKING:
    from cloud_service.redetection.jobs import Counts, Job, RedetectionJobs

_FIRST_US, _LAST_US = 0, (1 << 63) - 1
_MOST_EVERY = 1_000_000


def add_commands(commands: Any) -> None:
    """Adds ``redetect`` to the sub-commands of ``icm-cloud``."""
    text = "look at stored frames again, with other weights"
    parser = commands.add_parser(
        "redetect",
        help=text,
        description=f"{text}: makes a job, which the running service works off while live frames leave it time."
        " Results are kept beside those of other weights.",
    )
    parser.add_argument("--cameras", metavar="A,B", help="whose frames")
    add_time_argument(parser, "--from", "earliest capture time", dest="start")
    add_time_argument(parser, "--to", "capture time up to which, not included", dest="end")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="read by the service, so it must reach the file")
    parser.add_argument("--detector", choices=("yolo", "onnx"), help="what reads them (default: by the file's name)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--every", type=int, metavar="N", default=1, help="only frames whose sequence N divides")
    which.add_argument(
        "--changed", action="store_true", help="frames in which little changed take over what was found before"
    )
    _add_settings(parser)
    parser.set_defaults(command=_order)
    jobs = parser.add_subparsers(metavar="COMMAND")
    status = jobs.add_parser("status", help="show the jobs and how far they are")
    status.set_defaults(command=_status)
    cancel = jobs.add_parser("cancel", help="cancel a job; what it has found stays")
    pause = jobs.add_parser("pause", help="have a job stand still until it is resumed")
    resume = jobs.add_parser("resume", help="have a job go on that stands still")
    for command, change in ((cancel, "cancel"), (pause, "pause"), (resume, "resume")):
        command.add_argument("job", type=int, metavar="ID", help="the job's number")
        command.set_defaults(command=_change, change=change)
    for command in (status, cancel, pause, resume):
        _add_settings(command)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the service's settings in YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting")


def _order(options: argparse.Namespace) -> int:
    if not options.cameras or options.weights is None:
        raise ConfigError("redetect needs --cameras and --weights; `icm-cloud redetect --help` says more")
    start = microseconds_of(options.start) if options.start else _FIRST_US
    end = microseconds_of(options.end) if options.end else _LAST_US
    if start >= end:
        raise ConfigError(f"--from {options.start} is not before --to {options.end}")
    if not 1 <= options.every <= _MOST_EVERY:
        raise ConfigError(f"--every {options.every} is not within 1 and {_MOST_EVERY}")
    cameras = tuple(dict.fromkeys(name.strip() for name in options.cameras.split(",") if name.strip()))
    if not cameras:
        raise ConfigError(f"--cameras {options.cameras} names none: separate names by commas")
    settings = _settings(options)
    # Imported late: a bad argument need not wait for what loads weights.
    from cloud_service.detection.registry import load_wanted
    from cloud_service.redetection.jobs import Order
    from cloud_service.redetection.weights import Weights
    from icm.service.clock import SystemClock

    weights = Weights.of(options.weights, options.detector)
    jobs = _jobs(settings)
    # What is no detector is better found now than by the service.
    load_wanted(weights.detector_settings(settings), settings.device, settings.threads, settings.store.folder)
    order = Order(cameras, start, end, weights, options.every, options.changed)
    with _database_trouble():
        number, planned = jobs.add(order, SystemClock().now_us())
    say(
        f"re-detection {number}: {planned.segments} segments with {planned.frames} frames of {len(cameras)} cameras,"
        f" for {weights.model}; `icm-cloud redetect status` shows how far it is"
    )
    return 0


def _status(options: argparse.Namespace) -> int:
    jobs = _jobs(_settings(options))
    with _database_trouble():
        found = jobs.overview()
    for job, counts in found:
        say(_line(job, counts))
    if not found:
        say("there are no re-detections")
    return 0


def _change(options: argparse.Namespace) -> int:
    jobs = _jobs(_settings(options))
    with _database_trouble():
        getattr(jobs, options.change)(options.job)
    said = {
        "cancel": "is cancelled; what it has found stays",
        "pause": "stands still; `icm-cloud redetect resume` has it go on",
        "resume": "goes on",
    }
    say(f"re-detection {options.job} {said[options.change]}")
    return 0


def _line(job: Job, counts: Counts) -> str:
    share = 100 * counts.done // counts.segments if counts.segments else 100
    made = datetime.fromtimestamp(job.created_us / 1e6, UTC)
    text = (
        f"{job.id}  {job.state}  {share} %  {job.model}  made {made:%Y-%m-%d %H:%M}Z  segments {counts.done} of"
        f" {counts.segments}, lost {counts.lost}  frames {counts.frames}, looked at {counts.looked_at}, skipped"
        f" {counts.skipped}  objects {counts.objects}"
    )
    return f"{text}  {job.problem}" if job.problem else text


def _settings(options: argparse.Namespace) -> CloudSettings:
    settings = load_settings(CloudSettings, options.config, parse_assignments(options.set))
    configure_logging(settings.log_level)
    return settings


def _jobs(settings: CloudSettings) -> RedetectionJobs:
    from cloud_service.database.opening import attach_database
    from cloud_service.redetection.jobs import RedetectionJobs

    return RedetectionJobs(attach_database(settings.database_url))


@contextmanager
def _database_trouble() -> Iterator[None]:
    """Replaces the database's own errors.

    Raises:
        StorageError: in the place of the database's own errors.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageError(f"the database refuses: {trouble(error)}") from None
