"""Fields that several of these pages have, checked once, and what they show as the templates have it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams

from cloud_service.viewer.exports.pages import CAMERA_FIELD
from cloud_service.viewer.web.time_fields import read_time
from icm.errors import ConfigError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def us_of(moment: datetime) -> int:
    """A time as templates show it, microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(us: int) -> datetime:
    """A time as the cloud's client takes it."""
    return _EPOCH + us * _MICROSECOND


def chosen_cameras(form: Mapping[str, str], visible: Sequence[str]) -> list[str]:
    """The cameras that a form has ticked.

    Raises:
        ConfigError: none is.
    """
    chosen = [camera for camera in visible if CAMERA_FIELD + camera in form]
    if not chosen:
        raise ConfigError("choose at least one camera")
    return chosen


def from_query(query: QueryParams, *names: str) -> dict[str, str]:
    """What an address fills into a form: some fields, and ``camera`` as often as it is there."""
    form = {name: value for name, value in query.items() if name in names}
    return form | {CAMERA_FIELD + name: "on" for name in query.getlist("camera")}


def read_number(form: Mapping[str, str], name: str, what: str, most: float) -> float | None:
    """A field with a number above 0; None where it is empty.

    Raises:
        ConfigError: it is something else.
    """
    text = form.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise ConfigError(f"{what} is {text[:40]!r}: give a number above 0 and up to {most:,.0f}, or leave it empty")
    return number


def read_moment(form: Mapping[str, str], name: str, what: str) -> datetime | None:
    """A field with a time, in UTC; None where it is empty.

    Raises:
        ConfigError: it is something else.
    """
    text = form.get(name, "").strip()
    return moment_of(read_time(text, what)) if text else None
