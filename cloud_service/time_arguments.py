"""Times on the command line: all commands of ``icm-cloud`` take them alike, with their zone."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

EXAMPLE = "2026-11-03T15:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, tzinfo=UTC)


def add_time_argument(
    parser: argparse.ArgumentParser, flag: str, meaning: str, *, dest: str | None = None, required: bool = False
) -> None:
    """Adds an option that is a time: a datetime in UTC, or None if it is not given.

    Args:
        parser: of the command.
        flag: such as ``--from``.
        meaning: what the time is of, for ``--help``.
        dest: name of the value; None for that of the flag.
        required: whether it must be given.
    """
    help_text = f"{meaning}; with its zone, such as {EXAMPLE}"
    parser.add_argument(
        flag, dest=dest or flag.lstrip("-"), required=required, type=_time, metavar="TIME", help=help_text
    )


def microseconds_of(time: datetime) -> int:
    """A time as the services count it: microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _time(text: str) -> datetime:
    """A time as ISO 8601 writes it, in UTC: for ``argparse``, which names the option.

    Raises:
        ArgumentTypeError: it is none, has no zone, or no camera can have had it.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no time: write it as {EXAMPLE}") from None
    if time.tzinfo is None:
        # UTC or the zone of this machine would be a guess, and half a day beside what was meant.
        written = time.isoformat()
        raise argparse.ArgumentTypeError(
            f"{text[:80]!r} has no time zone: write it as {written}Z for UTC, or as {written}+01:00"
        )
    if not _EPOCH <= time < _END:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not between the years 1970 and 9999")
    return time.astimezone(UTC)
