"""Times as fields of pages have them: what browsers send has no zone, and the pages say that it is UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from icm.errors import ConfigError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def read_time(text: str, what: str) -> int:
    """A time of a field, microseconds since 1970.

    Args:
        text: of the field.
        what: it is, for a person.

    Raises:
        ConfigError: it is none.
    """
    try:
        # What comes behind a NUL the calendar's parser takes for no fault.
        if not text.isprintable():
            raise ValueError
        time = datetime.fromisoformat(text)
        time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        if not _EPOCH <= time < _LATEST:
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{what} is {text[:40]!r}, and no time between 1970 and 2200: write it as 2026-09-21T14:13:20, in UTC"
        ) from None
    return (time - _EPOCH) // _MICROSECOND


def field_text(us: int) -> str:
    """A time since 1970 as a field for times has it, in UTC."""
    return f"{_EPOCH + us * _MICROSECOND:%Y-%m-%dT%H:%M:%S}"
