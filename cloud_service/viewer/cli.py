"""``icm-cloud viewer``: the archive for people."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from cloud_service.settings import CloudSettings
from icm.config.assignments import parse_assignments
from icm.config.settings import load_settings
from icm.service.telemetry import configure_logging


def add_commands(commands: Any) -> None:
    """Adds the viewer's commands to those of ``icm-cloud``."""
    text = "serve the archive to browsers until SIGTERM"
    viewer = commands.add_parser("viewer", help=text, description=text)
    add_settings_arguments(viewer)
    viewer.set_defaults(command=_viewer)


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``settings_of`` reads."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the cloud's settings in YAML")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as viewer.connections=64"
    )


def settings_of(options: argparse.Namespace) -> CloudSettings:
    """The cloud's settings.

    Raises:
        ConfigError: they cannot work.
    """
    settings = load_settings(CloudSettings, options.config, parse_assignments(options.set))
    configure_logging(settings.log_level)
    return settings


def _viewer(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    # Imported late: a bad setting need not cost the time.
    from cloud_service.viewer.app import ViewerApp

    async def serve() -> None:
        await ViewerApp(settings).run()

    asyncio.run(serve())
    return 0
