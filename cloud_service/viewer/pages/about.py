"""What runs here: versions, the codec, and whose work is in it."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.static_files import FOLDER
from cloud_service.viewer.web.templates import Templates
from icm.codec.bundle.manifest import MANIFEST
from icm.version import VERSION

VENDOR = FOLDER / "vendor" / "vendor.json"
_PACKAGES = ("starlette", "uvicorn", "jinja2", "sqlalchemy", "argon2-cffi", "grpcio", "cryptography")


@dataclass(frozen=True)
class Vendored:
    """A script of others that the viewer ships.

    Attributes:
        name: of its package.
        version: of it.
        licence: by its SPDX name.
        text: static file with the licence.
    """

    name: str
    version: str
    licence: str
    text: str


def vendored() -> list[Vendored]:
    """All of them, as the list says that a test compares with the files."""
    return [
        Vendored(each["name"], each["version"], each["licence"], f"vendor/{each['name']}.LICENSE.txt")
        for each in json.loads(VENDOR.read_text())
    ]


class AboutPages:
    """The page at ``/about``."""

    def __init__(self, bundles: Sequence[Path], templates: Templates) -> None:
        """Reads what does not change while the viewer runs.

        Args:
            bundles: folders of the codecs that the cloud reads.
            templates: for the page.
        """
        self._templates = templates
        self._versions = {"ICM Bridge": VERSION, "Python": platform.python_version()}
        self._versions |= {name: version(name) for name in _PACKAGES}
        self._bundles = [_described(folder) for folder in bundles]
        self._vendored = vendored()

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page("/about", self._about, Right.VIEW)]

    async def _about(self, request: Request) -> Response:
        values: dict[str, Any] = {"versions": self._versions, "bundles": self._bundles, "vendored": self._vendored}
        return self._templates.page(request, "about.html", **values)


def _described(folder: Path) -> tuple[str, str]:
    """Name and codec id of a bundle; the cloud checks it, and so this only tells."""
    try:
        said = json.loads((folder / MANIFEST).read_bytes())
        return str(said["name"]), str(said["codec_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name, "its manifest cannot be read"
