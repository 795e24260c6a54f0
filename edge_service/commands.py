"""What ``icm-edge`` does: run an edge, check its settings, explain them, make tokens for its clients."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_service.app import Edge, check
from edge_service.frame_api.tokens import add_token
from edge_service.proof.cli import add_commands, show_heads, show_key
from edge_service.settings import EdgeSettings
from edge_service.sources import Source
from icm.codec.bundle.loading import Bundle
from icm.config.assignments import parse_assignments
from icm.config.settings import explain_settings, load_settings
from icm.errors import IcmError
from icm.service.command_line import say
from icm.service.memory import share_one_arena
from icm.service.stopping import stopping
from icm.service.telemetry import configure_logging
from icm.version import add_version

EXIT_FAILED = 1
EXIT_CONFIG = 2
"""As of icm-cloud: settings, or what they name, cannot work."""


def run(arguments: Sequence[str] | None) -> int:
    """Runs the command; returns the exit status: 0 done, 1 a source failed, or a chain contradicts, 2 it cannot be."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "config":
            say(explain_settings(EdgeSettings))
            return 0
        if options.command == "token":
            # The one time that it is shown; the file holds its digest only.
            say(add_token(options.file, options.client, options.camera))
            return 0
        settings = load_settings(EdgeSettings, options.config, parse_assignments(options.set))
        configure_logging(settings.log_level)
        if options.command == "heads":
            return show_heads(options, settings)
        if options.command == "public-key":
            return show_key(settings)
        if options.command == "check":
            check(settings)
            say(f"{options.config or 'the settings'}: ok")
            return 0
        share_one_arena()
        return asyncio.run(_run(settings, *check(settings)))
    except IcmError as error:
        print(f"icm-edge: {error}", file=sys.stderr)
        return EXIT_CONFIG


async def _run(settings: EdgeSettings, bundle: Bundle, sources: dict[str, Source]) -> int:
    edge = Edge(settings, bundle, sources)
    with stopping(asyncio.get_running_loop(), edge.stop):
        return 0 if await edge.run() else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="icm-edge", description="Codes cameras' pictures and delivers them to the cloud."
    )
    add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    with_settings = [
        commands.add_parser("run", help="run until the sources end or a signal comes"),
        commands.add_parser("check", help="check the settings, the files they name and the bundle"),
        *add_commands(commands),
    ]
    for command in with_settings:
        command.add_argument("--config", type=Path, help="YAML file of settings")
        command.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="overrides a setting, by its dotted name"
        )
    token = commands.add_parser("token", help="make a token for a client of the frame API, and print it")
    token.add_argument("client", help="whose it is")
    token.add_argument("--file", type=Path, required=True, help="file of tokens (setting frame_api.tokens)")
    token.add_argument(
        "--camera", action="append", required=True, help="camera that the client may submit to; repeatable"
    )
    config = commands.add_parser("config", help="explain the settings")
    config.add_argument("--explain", action="store_true", required=True, help="print every setting with its meaning")
    return parser
