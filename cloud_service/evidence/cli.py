"""``icm-cloud export``: an evidence file from a running cloud."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cloud_service.client_arguments import add_client_arguments, cloud_client
from cloud_service.time_arguments import add_time_argument
from icm.errors import ConfigError
from icm.service.command_line import say

_TEXT = "Writes an evidence file: what is stored of cameras in a range of time, and what proves it."


def add_commands(commands: Any) -> None:
    """Adds ``export`` to the commands of ``icm-cloud``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export", help="an evidence file from a running cloud", description=_TEXT
    )
    add_client_arguments(parser)
    parser.add_argument("--camera", action="append", required=True, help="of this camera; repeatable")
    add_time_argument(parser, "--from", "start of the range", dest="start", required=True)
    add_time_argument(parser, "--to", "its end, not included", dest="end", required=True)
    parser.add_argument("--case", required=True, metavar="TEXT", help="what it is about")
    parser.add_argument("--by", required=True, metavar="NAME", help="who exports it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the zip to write")
    parser.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> int:
    if options.output.is_dir():
        raise ConfigError(f"{options.output} is a folder: name the zip to write")
    with cloud_client(options) as cloud, tqdm(unit="B", unit_scale=True, desc="exporting", disable=None) as bar:

        def progress(done: int, expected: int) -> None:
            bar.total = expected
            bar.update(done - bar.n)

        size = cloud.export(
            options.output,
            options.camera,
            options.start,
            options.end,
            case=options.case,
            by=options.by,
            progress=progress,
        )
    say(f"{options.output}: {size} bytes; check it with: icm verify {options.output}")
    return 0
