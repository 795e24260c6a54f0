"""``icm-cloud edge-key``: an operator vouches for another key of a camera's edge."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from cloud_service.client_arguments import add_client_arguments, cloud_client
from icm.service.command_line import say

_TEXT = (
    "Notes in a camera's chain that its edge seals with another key from now on, as after it was set up anew. The first"
    " key that the cloud meets is noted by itself; one that takes its place without this is a problem of health, and"
    " verify names it."
)


def add_commands(commands: Any) -> None:
    """Adds ``edge-key`` to the commands of ``icm-cloud``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "edge-key", help="vouch for another key of a camera's edge", description=_TEXT
    )
    add_client_arguments(parser)
    parser.add_argument("--camera", required=True, help="whose edge")
    parser.add_argument("--edge-key", required=True, metavar="KEY", help="as `icm-edge public-key` prints it")
    parser.add_argument("--by", default=getpass.getuser(), metavar="NAME", help="who vouches for it (default: you)")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why the key is another")
    parser.set_defaults(command=_accept)


def _accept(options: argparse.Namespace) -> int:
    with cloud_client(options) as cloud:
        at = cloud.accept_edge_key(options.camera, options.edge_key, by=options.by, reason=options.reason)
    say(f"{options.camera}: the chain names the edge's key {options.edge_key} from {at:%Y-%m-%dT%H:%M:%SZ} on")
    return 0
