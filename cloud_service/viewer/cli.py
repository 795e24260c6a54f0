"""``icm-cloud viewer``: the archive for people."""

from __future__ import annotations

import argparse
import asyncio
import gc
from typing import Any

from cloud_service.viewer import account_commands
from cloud_service.viewer.account_commands import add_settings_arguments, settings_of


def add_commands(commands: Any) -> None:
    """Adds the viewer's commands to those of ``icm-cloud``."""
    text = "serve the archive to browsers until SIGTERM"
    viewer = commands.add_parser("viewer", help=text, description=text)
    add_settings_arguments(viewer)
    viewer.set_defaults(command=_viewer)
    account_commands.add_commands(commands)


def _viewer(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    # Imported late: a bad setting need not cost the time.
    from cloud_service.viewer.app import ViewerApp

    async def serve() -> None:
        viewer = ViewerApp(settings)
        # What is loaded stays; a page in which Python looks through it for garbage takes 80 ms longer.
        gc.freeze()
        await viewer.run()

    asyncio.run(serve())
    return 0
