"""``icm-cloud certs``: an authority for edges, readers and servers, on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from cryptography import x509

from cloud_service.access.certificates.authority import CERTIFICATE_DAYS, Authority, Issued
from cloud_service.access.certificates.grants import alternative_names, granting, grants_of
from icm.service.clock import SystemClock
from icm.service.command_line import say

FOLDER = Path("certs")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds what can be done with certificates below ``icm-cloud certs``."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="make an authority")
    init.add_argument("--name", default="ICM Bridge", help="the authority's name (default: ICM Bridge)")
    init.set_defaults(command=_init)
    issue = commands.add_parser("issue", help="issue a certificate and its key")
    issue.add_argument("name", help="whose it is, such as cloud, edge-north or viewer")
    issue.add_argument("--camera", action="append", default=[], help="an edge: may deliver this camera; repeatable")
    issue.add_argument("--reader", action="store_true", help="may read every camera")
    issue.add_argument("--release-holds", action="store_true", help="may release holds that others added")
    issue.add_argument("--host", action="append", default=[], help="may serve at this name or address; repeatable")
    issue.add_argument("--days", type=int, default=CERTIFICATE_DAYS, help=f"lifetime (default: {CERTIFICATE_DAYS})")
    issue.set_defaults(command=_issue)
    revoke = commands.add_parser("revoke", help="let a certificate count no longer")
    revoke.add_argument("name", metavar="NAME_OR_SERIAL", help="whose, or the serial number of just one")
    revoke.set_defaults(command=_revoke)
    listing = commands.add_parser("list", help="show what was issued")
    listing.set_defaults(command=_list)
    for command in (init, issue, revoke, listing):
        command.add_argument(
            "--folder", type=Path, default=FOLDER, help=f"where the authority lies (default: {FOLDER})"
        )


def _init(options: argparse.Namespace) -> int:
    Authority.create(options.folder, SystemClock(), options.name)
    say(
        f"made an authority in {options.folder}; ca.key is its secret: keep the folder off the machines of cloud and"
        " edges, and a copy of it somewhere safe"
    )
    return 0


def _issue(options: argparse.Namespace) -> int:
    grants = granting(options.name, options.camera, options.reader, options.release_holds)
    folder = Authority(options.folder, SystemClock()).issue(grants, options.host, options.days)
    say(f"{folder}: tls.crt, tls.key (secret) and ca.crt; carry them to the machine of {options.name}")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    news = Authority(options.folder, SystemClock()).revoke(options.name)
    for issued in news:
        say(f"revoked {issued.name} {issued.certificate.serial_number:x}")
    say(f"{len(news)} revoked; carry {options.folder / 'crl.pem'} to the cloud (setting ingest.tls.revoked)")
    return 0


def _list(options: argparse.Namespace) -> int:
    for issued in Authority(options.folder, SystemClock()).issued():
        say(_line(issued))
    return 0


def _line(issued: Issued) -> str:
    found = issued.certificate
    hosts = [*alternative_names(found, x509.DNSName), *alternative_names(found, x509.IPAddress)]
    good_for = [*grants_of(found).uris(), *(f"host:{host}" for host in hosts)]
    state = "revoked" if issued.revoked else f"until {found.not_valid_after_utc:%Y-%m-%d}"
    return f"{issued.name}  {found.serial_number:x}  {state}  {' '.join(good_for)}"
