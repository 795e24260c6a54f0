"""What a search asks for, as addresses have it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from cloud_service.sightings.relative_boxes import WHOLE, RelativeBox
from cloud_service.sightings.search import SightingQuery
from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.web.time_fields import field_text, read_time
from icm.errors import ConfigError

MOST_NAMES = 64
"""Cameras, or classes, that are asked for by name."""
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class Criteria:
    """What somebody searches for.

    Attributes:
        cameras: of one of these; empty for any.
        classes: of one of these; empty for any.
        least_score: 0 to 1.
        from_us: ends at or after this, microseconds since 1970; None for the oldest on.
        to_us: begins before this; None for up to the newest.
        region: left, top, right and bottom as parts of the picture, 0 to 1; None for anywhere.
        least_seconds: lasts at least so long.
    """

    cameras: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    least_score: float = 0.0
    from_us: int | None = None
    to_us: int | None = None
    region: tuple[float, float, float, float] | None = None
    least_seconds: float = 0.0

    def query(self, visitor: Visitor, known: tuple[str, ...]) -> SightingQuery:
        """The same for the database.

        Args:
            visitor: who asks; of cameras that they do not see nothing is found.
            known: all cameras.

        Raises:
            NotFoundError: a camera was named that the visitor does not see.
        """
        for camera in self.cameras:
            visitor.check_sees(camera)
        cameras = self.cameras or (None if visitor.sees_all else tuple(visitor.visible(known)))
        region = self.region and RelativeBox(*(round(edge * WHOLE) for edge in self.region))
        return SightingQuery(
            cameras=cameras,
            classes=self.classes,
            least_score=self.least_score,
            from_us=self.from_us,
            to_us=self.to_us,
            region=region,
            least_us=round(self.least_seconds * 1e6),
        )

    def address(self, **more: str) -> str:
        """The query of an address that asks for the same; ``more`` are other fields of it."""
        fields: list[tuple[str, str]] = [("camera", name) for name in self.cameras]
        fields += [("class", name) for name in self.classes]
        if self.least_score:
            fields.append(("score", f"{self.least_score:g}"))
        for name, time in (("from", self.from_us), ("to", self.to_us)):
            if time is not None:
                fields.append((name, field_text(time)))
        if self.region is not None:
            fields.append(("region", region_text(self.region)))
        if self.least_seconds:
            fields.append(("seconds", f"{self.least_seconds:g}"))
        return urlencode([*fields, *((name, value) for name, value in more.items() if value)])


def read_criteria(asked: QueryParams) -> Criteria:
    """What an address asks for; a field that is empty asks for nothing.

    Raises:
        ConfigError: a field cannot be; it says which.
    """
    from_us, to_us = _time(asked, "from"), _time(asked, "to")
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise ConfigError("the search ends before it begins: choose a later end")
    return Criteria(
        cameras=_names(asked, "camera"),
        classes=_names(asked, "class"),
        least_score=_number(asked, "score", 1.0),
        from_us=from_us,
        to_us=to_us,
        region=_region(asked.get("region", "")),
        least_seconds=_number(asked, "seconds", _LONGEST_SECONDS),
    )


def region_text(region: tuple[float, float, float, float]) -> str:
    """A region as an address has it."""
    return ",".join(f"{edge:.4g}" for edge in region)


def _names(asked: QueryParams, field: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in asked.getlist(field) if name))
    if len(names) > MOST_NAMES:
        raise ConfigError(f"{len(names)} names of `{field}` are too many: choose {MOST_NAMES} at most")
    return names


def _number(asked: QueryParams, field: str, most: float) -> float:
    text = asked.get(field, "")
    if not text:
        return 0.0
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise ConfigError(f"`{field}` is {text[:40]!r}: give a number from 0 to {most:g}")
    return number


def _time(asked: QueryParams, field: str) -> int | None:
    text = asked.get(field, "")
    return read_time(text, f"`{field}`") if text else None


def _region(text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"`region` is {text[:40]!r}, and no part of the picture: give left, top, right and bottom, each 0 to 1"
        ) from None
    return left, top, right, bottom
