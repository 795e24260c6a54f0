"""The version of the project, as every command and the package ``icm`` say it."""

from __future__ import annotations

import argparse
from importlib.metadata import version

VERSION = version("icm-bridge")
"""That of the installed distribution, which has it from pyproject.toml."""


def add_version(parser: argparse.ArgumentParser) -> None:
    """Adds ``--version`` to a command."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
