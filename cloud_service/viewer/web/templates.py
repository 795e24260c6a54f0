"""Pages out of templates: what they all share, and how times and sizes look in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cloud_service.viewer.web.flash import take_flash
from cloud_service.viewer.web.forms import CSRF_FIELD
from cloud_service.viewer.web.routes import Right
from cloud_service.viewer.web.static_files import StaticFiles
from icm.version import VERSION

FOLDER = Path(__file__).parents[1] / "templates"
_THEME_COOKIE = "icm-theme"
_THEMES = ("light", "dark")


@dataclass(frozen=True)
class Place:
    """A link of the navigation.

    Attributes:
        path: where it leads.
        text: what it is called.
        right: who does not have it is not shown the link.
        others: paths of further pages that are reached by it.
    """

    path: str
    text: str
    right: Right
    others: tuple[str, ...] = ()

    def leads_to(self, path: str) -> bool:
        """Whether a page is one of those that are reached by it, but is not where it leads."""
        return any(path == other or path.startswith(f"{other}/") for other in self.others)


class Templates:
    """Renders pages; what a value holds is shown as text, whatever it looks like."""

    def __init__(self, static: StaticFiles, navigation: Sequence[Place]) -> None:
        """Reads nothing yet.

        Args:
            static: whose addresses the pages need.
            navigation: what stands at the top of each page.
        """
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            static=static.url, version=VERSION, navigation=navigation, csrf_field=_csrf_field
        )
        self._environment.filters.update(time=time_tag, stamp=stamp_text, size=size_text, count=count_text)

    def page(self, request: Request, template: str, /, status: int = 200, **values: Any) -> HTMLResponse:
        """A page.

        Args:
            request: that it answers.
            template: its file.
            status: of HTTP.
            values: for the template, beside ``request``, ``visitor`` (None where nobody is logged in) and ``flash``.
        """
        visitor = getattr(request.state, "visitor", None)
        flash = take_flash(request)
        theme = request.cookies.get(_THEME_COOKIE)
        text = self._environment.get_template(template).render(
            request=request, visitor=visitor, flash=flash, theme=theme if theme in _THEMES else "", **values
        )
        response = HTMLResponse(text, status)
        flash.forget(response)
        return response


def time_tag(us: int | None) -> Markup:
    """A time for a person: in UTC, and where scripts run, in the browser's own zone.

    Args:
        us: microseconds since 1970; None for never.
    """
    if us is None:
        return Markup("never")
    try:
        time = datetime.fromtimestamp(us / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        return Markup("at an impossible time")
    return Markup('<time datetime="{}">{} UTC</time>').format(stamp_text(us), f"{time:%Y-%m-%d %H:%M:%S}")


def stamp_text(us: int) -> str:
    """A time as addresses have it, such as ``2026-09-21T14:13:20.500Z``.

    Args:
        us: microseconds since 1970, within the years that a calendar has.
    """
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size_text(size: float) -> str:
    """Bytes for a person, such as ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def count_text(count: int) -> str:
    """A number for a person, such as ``1,234,567``."""
    return f"{count:,}"


def _csrf_field(visitor: Any) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, visitor.csrf)
