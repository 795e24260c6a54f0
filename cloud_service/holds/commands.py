"""``icm-cloud holds``: what must not be deleted, asked of a running cloud."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import Any

from cloud_service.time_arguments import add_time_argument
from icm.client.cloud import CloudClient
from icm.client.connection import Tls
from icm.client.holds import Hold
from icm.service.command_line import say


def add_commands(commands: Any) -> None:
    """Adds ``holds`` to the commands of ``icm-cloud``."""
    text = "what must not be deleted"
    parser = commands.add_parser("holds", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    add = parser.add_parser("add", help="keep a stretch of time from being deleted")
    add_time_argument(add, "--from", "start of the stretch", dest="start", required=True)
    add_time_argument(add, "--to", "its end, not included", dest="end", required=True)
    add.add_argument("--camera", action="append", default=[], help="whose; repeatable; none for all cameras")
    add.add_argument("--owner", default=getpass.getuser(), help="whose hold it is (default: you)")
    add.add_argument("--reason", required=True, help="why")
    add_time_argument(add, "--expires", "when it ends by itself (default: never)")
    add.add_argument("--within-max-age", action="store_true", help="the limit of age deletes in it all the same")
    add.add_argument(
        "--max-bytes", type=int, default=0, help="bytes of the disk that it may keep; what arrives later is not kept"
    )
    add.set_defaults(command=_add)
    listing = parser.add_parser("list", help="show the holds")
    listing.add_argument("--all", action="store_true", help="with those that were released or have expired")
    listing.set_defaults(command=_list)
    release = parser.add_parser("release", help="end a hold")
    release.add_argument("id", help="its name, such as h-0123abcd")
    release.add_argument("--by", default=getpass.getuser(), help="who asks (default: you)")
    release.set_defaults(command=_release)
    for sub in (add, listing, release):
        sub.add_argument("--address", default="127.0.0.1:7443", help="host:port of the cloud (default: %(default)s)")
        sub.add_argument("--tls", type=Path, metavar="FOLDER", help="with ca.crt, tls.crt and tls.key of a reader")


def _add(options: argparse.Namespace) -> int:
    with _client(options) as cloud:
        hold = cloud.add_hold(
            options.start,
            options.end,
            owner=options.owner,
            reason=options.reason,
            cameras=options.camera,
            expires=options.expires,
            within_max_age=options.within_max_age,
            max_bytes=options.max_bytes,
        )
    say(_line(hold))
    return 0


def _list(options: argparse.Namespace) -> int:
    with _client(options) as cloud:
        for hold in cloud.holds(options.all):
            say(_line(hold))
    return 0


def _release(options: argparse.Namespace) -> int:
    with _client(options) as cloud:
        say(_line(cloud.release_hold(options.id, options.by)))
    return 0


def _client(options: argparse.Namespace) -> CloudClient:
    tls: Path | None = options.tls
    files = None if tls is None else Tls(tls / "ca.crt", tls / "tls.crt", tls / "tls.key")
    return CloudClient(options.address, tls=files)


def _line(hold: Hold) -> str:
    ends = f", expires {hold.expires:%Y-%m-%dT%H:%MZ}" if hold.expires else ""
    ended = f", released by {hold.released_by} {hold.released:%Y-%m-%dT%H:%MZ}" if hold.released else ""
    cameras = ",".join(hold.cameras) or "all cameras"
    stretch = f"{hold.start:%Y-%m-%dT%H:%M:%SZ} to {hold.end:%Y-%m-%dT%H:%M:%SZ}"
    kept = ""
    if hold.max_bytes and not hold.released:
        kept = f", keeps {hold.bytes} of {hold.max_bytes} bytes"
    if hold.full and not hold.released:
        kept += f", FULL since {hold.full:%Y-%m-%dT%H:%MZ}: {hold.unprotected_bytes} bytes that came later are not kept"
    return f"{hold.id}  {cameras}  {stretch}  {hold.owner}: {hold.reason}{ends}{kept}{ended}"
