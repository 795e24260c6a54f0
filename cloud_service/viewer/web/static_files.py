"""Styles, scripts and pictures of the pages: read once, and named by a digest of them all, so that browsers may keep
them for good. One digest for all, as scripts name each other by relative paths.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.web.routes import Page, Right
from icm.errors import NotFoundError

FOLDER = Path(__file__).parents[1] / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
_KEPT = "public, max-age=31536000, immutable"
_DIGEST_DIGITS = 12


@dataclass(frozen=True)
class _File:
    type: str
    plain: bytes
    packed: bytes


class StaticFiles:
    """All files of a folder, in memory; a path that is none of theirs leads nowhere."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Reads the files."""
        self._files: dict[str, _File] = {}
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.suffix in _TYPES and path.is_file():
                name, content = path.relative_to(folder).as_posix(), path.read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
                packed = gzip.compress(content, 9, mtime=0)
                self._files[name] = _File(_TYPES[path.suffix], content, packed)
        self._digest = digest.hexdigest()[:_DIGEST_DIGITS]

    def url(self, name: str) -> str:
        """Where browsers find a file.

        Args:
            name: its path in the folder.

        Raises:
            NotFoundError: there is no such file.
        """
        if name not in self._files:
            raise NotFoundError(f"there is no static file {name[:80]!r}")
        return f"/static/{self._digest}/{name}"

    def pages(self) -> list[Page]:
        """Their address, for the routes."""
        return [Page("/static/{digest}/{name:path}", self._answer, Right.NONE)]

    async def _answer(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None or request.path_params["digest"] != self._digest:
            raise NotFoundError("there is no such file, or it is of another version: load the page anew")
        headers = {"cache-control": _KEPT, "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", "") and len(file.packed) < len(file.plain):
            return Response(file.packed, headers={**headers, "content-encoding": "gzip"}, media_type=file.type)
        return Response(file.plain, headers=headers, media_type=file.type)
