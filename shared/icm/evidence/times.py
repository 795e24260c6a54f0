"""Times as evidence files have them: ISO 8601 in UTC to the microsecond, for people and programs alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from icm.errors import EvidenceError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def time_text(microseconds: int) -> str:
    """A time, from microseconds since 1970, such as 2026-09-21T14:13:20.000000Z; a number where no calendar has it."""
    try:
        time = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} us since 1970"
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0")


def microseconds_of(text: str) -> int:
    """Microseconds since 1970 of a time as ``time_text`` writes it.

    Raises:
        EvidenceError: it is none.
    """
    if _FORM.fullmatch(text):
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
        except ValueError:
            pass
    raise EvidenceError(f"{text[:80]!r} is no time: one is written as 2026-09-21T14:13:20.000000Z")
