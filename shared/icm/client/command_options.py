"""What commands that talk to a cloud are told: its address, TLS, a token, and times."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from icm.client.cloud import CloudClient
from icm.client.connection import Tls
from icm.errors import ConfigError

ADDRESS = "127.0.0.1:7443"


def add_cloud_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which cloud, and as whom."""
    parser.add_argument("--cloud", default=ADDRESS, metavar="HOST:PORT", help=f"the running cloud; default {ADDRESS}")
    parser.add_argument("--authority", type=Path, metavar="FILE", help="over TLS: whom to believe (ca.crt)")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="over TLS: whose call it is (tls.crt)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="over TLS: the certificate's key (tls.key)")
    parser.add_argument("--allow-plaintext", action="store_true", help="speak plaintext beyond this machine")


def cloud_of(options: argparse.Namespace) -> CloudClient:
    """The client of the cloud that the options name.

    Raises:
        ConfigError: they cannot be.
    """
    tls = None
    if options.authority is not None:
        tls = Tls(options.authority, options.certificate, options.key)
    elif options.certificate is not None or options.key is not None:
        raise ConfigError("a certificate or key is of use with TLS only: name the authority too (--authority)")
    return CloudClient(options.cloud, tls=tls, allow_plaintext=options.allow_plaintext)


def time_of(text: str) -> datetime:
    """A time that a person wrote, as ISO 8601 with a time zone, such as 2026-11-03T15:00Z.

    Raises:
        ConfigError: it is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ConfigError(f"{text[:80]!r} is no time with a time zone: write one as 2026-11-03T15:00Z")
    return time.astimezone(UTC)
