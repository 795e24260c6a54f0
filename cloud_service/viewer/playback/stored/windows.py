"""Stretches of time, as addresses name them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams

from cloud_service.viewer.web.templates import stamp_text
from cloud_service.viewer.web.time_fields import read_time
from icm.errors import ConfigError

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """A stretch of time, microseconds since 1970.

    Attributes:
        from_us: where it begins.
        to_us: where it ends, not included.
    """

    from_us: int
    to_us: int

    @property
    def length_us(self) -> int:
        """How long it is, in microseconds."""
        return self.to_us - self.from_us

    def overlaps(self, first_us: int, last_us: int) -> bool:
        """Whether a stretch, both ends included, reaches into it."""
        return first_us < self.to_us and last_us >= self.from_us


def window_of(query: QueryParams, most_us: int) -> Window:
    """The window that ``from`` and ``to`` of an address name.

    Args:
        query: of the address.
        most_us: length of the longest that is answered, in microseconds.

    Raises:
        ConfigError: there is none, it is no window, or it is too long.
    """
    from_us, to_us = time_of(query, "from"), time_of(query, "to")
    if from_us is None or to_us is None:
        raise ConfigError("give `from` and `to`, such as from=2026-09-21T14:00:00Z&to=2026-09-21T15:00:00Z")
    if to_us <= from_us:
        raise ConfigError("`to` is not after `from`: give a later one")
    if to_us - from_us > most_us:
        raise ConfigError(
            f"from {stamp_text(from_us)} to {stamp_text(to_us)} is more than {timedelta(microseconds=most_us)}, which"
            " is the longest that is answered here: ask for it in parts"
        )
    return Window(from_us, to_us)


def time_of(query: QueryParams, name: str) -> int | None:
    """A time of an address, microseconds since 1970; None if it is not there.

    Raises:
        ConfigError: it is there twice, or is no time.
    """
    texts = query.getlist(name)
    if not texts:
        return None
    if len(texts) > 1:
        raise ConfigError(f"`{name}` stands {len(texts)} times in the address: give it once")
    return read_time(texts[0], f"`{name}`")


def datetime_of(us: int) -> datetime:
    """A time since 1970, UTC."""
    return _EPOCH + timedelta(microseconds=us)
