"""The viewer beside the demo's cloud, with an account that is made up for this demo."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm.errors import IcmError
from icm.testing.processes import Ports, Service

USER = "demo"
_PASSWORD_BYTES = 9
_ADD = "import sys; from cloud_service.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Viewer:
    """A viewer that runs.

    Attributes:
        service: the process.
        url: where browsers find it.
        password: of the account ``demo``.
    """

    service: Service
    url: str
    password: str

    def text(self) -> str:
        """Where to look, and how to get in."""
        return f"watch it at {self.url}: log in as {USER} with the password {self.password}"


async def start_viewer(cloud: Ports, cloud_settings: Mapping[str, Any], folder: Path) -> Viewer:
    """Starts one on a port that the system picks.

    Args:
        cloud: that runs.
        cloud_settings: what it runs with.
        folder: for the viewer's settings and log.

    Raises:
        IcmError: it does not start, or its account cannot be made; holds the end of its log.
    """
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    await asyncio.to_thread(_add_account, cloud_settings["store"]["folder"], password)
    settings = {
        **cloud_settings,
        "viewer": {
            "address": "127.0.0.1:0",
            "metrics": "127.0.0.1:0",
            "cloud": {"address": f"127.0.0.1:{cloud.grpc}"},
        },
    }
    service = Service("icm-cloud", settings, folder, command="viewer")
    try:
        ports = await service.listening()
    except BaseException:
        service.kill()
        raise
    return Viewer(service, f"http://127.0.0.1:{ports.grpc}", password)


def _add_account(store: str, password: str) -> None:
    command = [sys.executable, "-c", _ADD, "users", "add", USER, "--admin", "--set", f"store.folder={store}"]
    done = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=False)
    if done.returncode:
        raise IcmError(f"the viewer's account cannot be made: {done.stderr.strip()}")
