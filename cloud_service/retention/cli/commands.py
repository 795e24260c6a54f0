"""``icm-cloud retention``: what would go, why, and what an operator decides."""

from __future__ import annotations

import argparse
import csv
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud_service.settings import CloudSettings
from cloud_service.time_arguments import add_time_argument, microseconds_of
from icm.config.assignments import parse_assignments
from icm.config.settings import load_settings
from icm.errors import NotFoundError, StorageError
from icm.service.command_line import say

_COLUMNS = ("tier", "camera", "number", "captured", "bytes", "reason", "rule")


def add_commands(commands: Any) -> None:
    """Adds ``retention`` to the commands of ``icm-cloud``."""
    text = "what is deleted, when and why"
    parser = commands.add_parser("retention", help=text, description=text).add_subparsers(
        required=True, metavar="COMMAND"
    )
    for name, command, text in (
        ("plan", _plan, "print as CSV what the settings would delete now; nothing is deleted"),
        ("explain", _explain, "say what the rules make of the segments at a time of a camera"),
        ("run", _ask, "ask the running cloud for a pass now"),
        ("apply", _ask, "let the settings hold that the running cloud waits to be told to apply"),
        ("trust-clock", _ask, "tell the running cloud that the machine's clock is right"),
    ):
        sub = parser.add_parser(name, help=text, description=text)
        sub.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as ingest.credit=32"
        )
        if name == "explain":
            sub.add_argument("--camera", required=True, help="whose")
            add_time_argument(sub, "--at", "capture time", required=True)
        sub.set_defaults(command=command, word=name)


def _plan(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from cloud_service.retention.cli.preview import preview

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    count = size = 0
    for each in preview(settings):
        of = each.item
        captured = _time(of.first_capture_us)
        writer.writerow((of.tier, of.camera, of.number, captured, of.disk_bytes, each.reason, each.rule))
        count, size = count + 1, size + of.disk_bytes
    print(f"{count} items of {size} bytes would go", file=sys.stderr)
    return 0


def _explain(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from cloud_service.retention.cli.preview import explain

    lines = explain(settings, options.camera, microseconds_of(options.at))
    if not lines:
        raise NotFoundError(f"there is nothing of camera {options.camera!r} at {options.at:%Y-%m-%dT%H:%M:%SZ}")
    for line in lines:
        say(line)
    return 0


def _ask(options: argparse.Namespace) -> int:
    settings = _settings(options)
    folder = settings.records_folder
    if not folder.is_dir():
        raise StorageError(f"there is no record store {folder}: name the settings of the cloud that has one (--config)")
    try:
        (folder / f"retention.{options.word}").touch()
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}") from None
    say(f"asked the cloud of {folder}; it does so within a second or at its next start, and its log tells")
    return 0


def _settings(options: argparse.Namespace) -> CloudSettings:
    return load_settings(CloudSettings, options.config, parse_assignments(options.set))


def _time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
