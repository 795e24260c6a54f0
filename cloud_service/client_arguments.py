"""How commands that ask a running cloud are told where it is and whom to believe."""

from __future__ import annotations

import argparse
from pathlib import Path

from icm.client.cloud import CloudClient
from icm.client.connection import Tls
from icm.errors import ConfigError


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``cloud_client`` reads."""
    parser.add_argument(
        "--address", default="127.0.0.1:7443", metavar="HOST:PORT", help="of the cloud (default: 127.0.0.1:7443)"
    )
    parser.add_argument("--authority", type=Path, metavar="FILE", help="PEM: whose certificate the cloud must show")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM: the certificate to show it")
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM: that certificate's private key")
    parser.add_argument(
        "--allow-plaintext", action="store_true", help="speak plaintext beyond this machine; for networks you trust"
    )


def cloud_client(options: argparse.Namespace) -> CloudClient:
    """The client that the options name.

    Raises:
        ConfigError: they do not fit together, or name what is not there.
    """
    if options.authority is None and (options.certificate or options.key):
        raise ConfigError("--certificate and --key are of TLS: give --authority too")
    tls = None if options.authority is None else Tls(options.authority, options.certificate, options.key)
    return CloudClient(options.address, tls=tls, allow_plaintext=options.allow_plaintext)
