"""What ``icm-cloud`` does."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud_service.access.certificates.cli import add_commands
from cloud_service.clips.cli import add_command as add_render_command
from cloud_service.evidence import cli as evidence
from cloud_service.holds import commands as holds
from cloud_service.proof import cli as proof
from cloud_service.redetection import cli as redetection
from cloud_service.retention.cli import commands as retention
from cloud_service.seals import cli as seals
from cloud_service.settings import CloudSettings
from cloud_service.viewer import cli as viewer
from icm.config.assignments import parse_assignments
from icm.config.settings import explain_settings, load_settings
from icm.config.watched_files import WatchedFiles
from icm.errors import IcmError
from icm.service.command_line import say
from icm.service.memory import share_one_arena
from icm.service.telemetry import configure_logging
from icm.version import add_version

CONFIG_STATUS = 2
"""Exit status when settings, or what they name, cannot work."""


def run(arguments: Sequence[str] | None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except IcmError as error:
        print(f"icm-cloud: {error}", file=sys.stderr)
        return CONFIG_STATUS
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="icm-cloud", description="Takes coded records in, keeps and looks at them.")
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("run", _run, "serve until SIGTERM"),
        ("check", _check, "load everything that the settings name, then exit"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML")
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as ingest.credit=32"
        )
        sub.set_defaults(command=command)
    certs = commands.add_parser("certs", help="certificates for mutual TLS", description="certificates for mutual TLS")
    add_commands(certs)
    add_render_command(commands)
    proof.add_commands(commands)
    seals.add_commands(commands)
    redetection.add_commands(commands)
    retention.add_commands(commands)
    holds.add_commands(commands)
    evidence.add_commands(commands)
    viewer.add_commands(commands)
    config = commands.add_parser("config", help="about the settings", description="about the settings")
    config.add_argument("--explain", action="store_true", required=True, help="print every setting with its meaning")
    config.set_defaults(command=_config)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    share_one_arena()
    # Imported late: torch alone takes seconds, which `config` and a bad setting need not cost.
    from cloud_service.app import App, run
    from cloud_service.bundles import Bundles
    from cloud_service.detection import load_detector

    async def serve() -> int:
        bundles = Bundles.load(settings.bundle_folders, settings.threads, settings.device)
        reread = WatchedFiles([options.config], lambda: _read(options).retention).current if options.config else None
        return await run(App(settings, bundles, load_detector(settings), reread))

    return asyncio.run(serve())


def _check(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from cloud_service.access.access import certificate_access
    from cloud_service.archive.storage import ArchiveStorage
    from cloud_service.bundles import Bundles
    from cloud_service.database.opening import database_engine
    from cloud_service.detection import load_detector
    from icm.rpc.servers import check_plaintext
    from icm.rpc.tls import check_tls
    from icm.service.clock import SystemClock

    if settings.ingest.tls:
        check_tls(settings.ingest.tls)
        certificate_access(settings.ingest.tls, SystemClock())
    else:
        check_plaintext(settings.ingest.address, settings.ingest.allow_plaintext)
    bundles = Bundles.load(settings.bundle_folders, settings.threads, settings.device)
    detector = load_detector(settings)
    bundles.load_decoders()
    ArchiveStorage(settings.archive_url)
    database_engine(settings.database_url).dispose()
    say(f"ok: bundle {bundles.first.name}, detector {detector.model if detector else 'none'}")
    return 0


def _config(_options: argparse.Namespace) -> int:
    say(explain_settings(CloudSettings))
    return 0


def _settings(options: argparse.Namespace) -> CloudSettings:
    settings = _read(options)
    configure_logging(settings.log_level)
    return settings


def _read(options: argparse.Namespace) -> CloudSettings:
    return load_settings(CloudSettings, options.config, parse_assignments(options.set))
