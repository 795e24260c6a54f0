"""``icm verify``: checks an evidence file without any service."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import with_shipped
from icm.errors import ConfigError
from icm.evidence.checks.findings import Finding
from icm.evidence.checks.verification import verify_case
from icm.proof.keys import public_key_of
from icm.service.command_line import say

_TEXT = (
    "Checks an evidence file: its structure, every digest, the signature, what proves it by the archive's chain, that"
    " every record decodes to what its digest names, and that the clips show what the records do."
)
_MOST_KEY_BYTES = 4096


def add_verify(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to those of ``icm``."""
    verify: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="check an evidence file",
        description=_TEXT,
        epilog="Exit status: 0 nothing is wrong, 1 something is, which the last line names, 2 it cannot be read.",
    )
    verify.add_argument("case", type=Path, help="the zip")
    verify.add_argument(
        "--key", metavar="PUBLIC_KEY", help="who has to have signed it: 64 hexadecimal digits, or a file that has them"
    )
    verify.add_argument(
        "--bundle",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a codec to decode with beside those that ship; repeatable",
    )
    verify.set_defaults(verify=_verify)
    return verify


def _verify(options: argparse.Namespace) -> bool:
    """Whether nothing is wrong."""
    key = None if options.key is None else _key(options.key)

    def bundles() -> list[Bundle]:
        return [Bundle.load(folder) for folder in with_shipped(*options.bundle)]

    findings = verify_case(options.case, key=key, bundles=bundles, told=_tell)
    if not findings.count_wrong:
        unknown = "" if key is not None else ", if that key is the archive's"
        lacks = f"; {findings.count_lacks} things are not in it or were not checked" if findings.count_lacks else ""
        say(f"verdict: nothing is wrong with {options.case}{unknown}{lacks}")
        return True
    say(f"verdict: {options.case} is NOT what it should be: {_one_line(findings.first_wrong)}")
    return False


def _tell(finding: Finding) -> None:
    say(f"{finding.kind:<5}  {_one_line(finding.text)}")


def _key(text: str) -> bytes:
    """The key that was given, or that is in the file that was named.

    Raises:
        ConfigError: there is none.
    """
    path = Path(text)
    if len(text) < 256 and path.is_file():
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_KEY_BYTES).decode("ascii", "replace")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    return public_key_of(text)


def _one_line(text: str) -> str:
    # What a case says is a stranger's, and may hold what terminals take for orders.
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
