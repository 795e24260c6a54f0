"""Answers that pages of this room share."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from cloud_service.database.damage import trouble
from cloud_service.database.statements import walking
from icm.errors import StorageError

_T = TypeVar("_T")
_PACKED_FROM = 1000
"""Bytes of a text from which packing it is worth the time."""


async def read_database(database: Engine, read: Callable[[Connection], _T]) -> _T:
    """What a thread reads from the database.

    Raises:
        StorageError: it cannot be used.
    """

    def within() -> _T:
        try:
            with walking(database) as connection:
                return read(connection)
        except SQLAlchemyError as error:
            raise StorageError(f"the database cannot be read: {trouble(error)}") from None

    return await asyncio.to_thread(within)


def text_answer(request: Request, text: str, media_type: str, keeping: str) -> Response:
    """A text, packed where that helps; or that the browser has it already.

    Args:
        request: that it answers.
        text: the content.
        media_type: its type.
        keeping: for how long a browser may keep it, as ``Cache-Control`` has it.
    """
    content = text.encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"cache-control": keeping, "etag": tag, "vary": "accept-encoding"}
    if tag in (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    if len(content) >= _PACKED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, 4, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(content, headers=headers, media_type=media_type)


def json_answer(request: Request, answer: Any, keeping: str) -> Response:
    """As ``text_answer``, of a value as JSON."""
    return text_answer(request, json.dumps(answer, separators=(",", ":")), "application/json", keeping)
