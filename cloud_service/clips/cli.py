"""``icm-cloud render``: a stretch of a camera's past as an MP4 file, made by the running cloud."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from cloud_service.client_arguments import add_client_arguments, cloud_client
from cloud_service.time_arguments import add_time_argument
from icm.atomic_file import atomic_writer
from icm.client.clips import Clip
from icm.errors import ConfigError, storage_error
from icm.service.command_line import say

INCOMPLETE_STATUS = 3
"""Exit status when stored frames are missing from the file."""


def add_command(commands: Any) -> None:
    """Adds ``render`` to the commands of ``icm-cloud``."""
    text = "write a stretch of a camera's past as an MP4 file; asks the running cloud"
    render = commands.add_parser("render", help=text, description=text)
    render.add_argument("--camera", required=True, help="its name")
    add_time_argument(render, "--from", "frames captured at or after this", dest="start", required=True)
    add_time_argument(render, "--to", "frames captured before this", required=True)
    render.add_argument(
        "--decoder", choices=("finetuned", "base"), default="finetuned",
        help="what turns records into pictures; base: as it was before its finetuning (default: finetuned)",
    )  # fmt: skip
    render.add_argument("--boxes", action="store_true", help="draw what was detected into the pictures")
    render.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the MP4 file")
    add_client_arguments(render)
    render.set_defaults(command=_render)


def _render(options: argparse.Namespace) -> int:
    if options.output.is_dir():
        raise ConfigError(f"{options.output} is a folder: give -o a file")
    with cloud_client(options) as cloud:
        try:
            with atomic_writer(options.output) as file:
                clip = cloud.clip(
                    options.camera, options.start, options.to, file, decoder=options.decoder, boxes=options.boxes
                )
        except OSError as error:
            raise storage_error(error, options.output) from None
    say(
        f"{options.output}: {clip.frames} frames from {clip.start:%Y-%m-%dT%H:%M:%S.%fZ} on,"
        f" {clip.duration.total_seconds():.1f} s, {clip.bytes} bytes"
    )
    return _tell_gaps(clip)


def _tell_gaps(clip: Clip) -> int:
    for gap in clip.gaps:
        print(
            f"icm-cloud: missing: {gap.frames} frames from {gap.first.isoformat()} to {gap.last.isoformat()}:"
            f" {gap.reason}",
            file=sys.stderr,
        )
    if clip.more_gaps:
        print(f"icm-cloud: and {clip.more_gaps} more gaps", file=sys.stderr)
    return INCOMPLETE_STATUS if clip.gaps else 0
