"""Forms as browsers send them: small, of one kind, each field once."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from icm.errors import ProtocolError

CSRF_FIELD = "csrf"
"""Of each form that changes something: proves that it is of a page which this visitor got."""
MOST_BYTES = 64 << 10
_MOST_FIELDS = 200
_SECONDS = 10
_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; read once, however often it is asked for.

    Raises:
        HTTPException: it is too large, no such form, or does not come.
        ProtocolError: it is malformed.
    """
    form: dict[str, str] | None = getattr(request.state, "form", None)
    if form is None:
        request.state.form = form = await _read(request)
    return form


async def _read(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise HTTPException(415, f"this address takes forms of type {_TYPE} alone, and no files")
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BYTES:
                    raise HTTPException(413, f"a form has {MOST_BYTES} bytes at most")
    except TimeoutError:
        raise HTTPException(408, f"the form did not come within {_SECONDS} seconds") from None
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise ProtocolError("this form is malformed: send fields as name=value, apart by &, in UTF-8") from None
    form = dict(fields)
    if len(form) != len(fields):
        raise ProtocolError("a field of this form stands there twice: only one can hold")
    return form
