"""Errors as pages for people and as JSON for programs, each with one status of HTTP."""

from __future__ import annotations

import logging
from http import HTTPStatus
from math import ceil
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from cloud_service.viewer.web.flash import redirect
from cloud_service.viewer.web.routes import asks_for_a_page
from cloud_service.viewer.web.templates import Templates
from icm import errors
from icm.errors import IcmError

log = logging.getLogger(__name__)

_STATUS: dict[type[IcmError], HTTPStatus] = {
    errors.ConfigError: HTTPStatus.BAD_REQUEST,
    errors.ProtocolError: HTTPStatus.BAD_REQUEST,
    errors.ImageError: HTTPStatus.BAD_REQUEST,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.PermissionDeniedError: HTTPStatus.FORBIDDEN,
    errors.FrameDeletedError: HTTPStatus.GONE,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.BusyError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.UnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
LOGIN = "/login"
_REASONS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE", 415: "UNSUPPORTED_FORM"}
_TEXTS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
}


def status_of(error: IcmError) -> HTTPStatus:
    """The status of HTTP that an error has."""
    found = (_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


class ErrorAnswers:
    """Makes answers of errors."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    def handlers(self) -> dict[object, ExceptionHandler]:
        """For the application."""
        return {IcmError: self._ours, HTTPException: self._https, Exception: self._unexpected}  # type: ignore[dict-item]

    async def _ours(self, request: Request, error: IcmError) -> Response:
        status = status_of(error)
        if status == HTTPStatus.UNAUTHORIZED and request.method in ("GET", "HEAD") and asks_for_a_page(request):
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return redirect(f"{LOGIN}?next={quote(wanted, safe='')}")
        headers = {}
        if isinstance(error, errors.BusyError):
            headers["retry-after"] = str(ceil(error.retry_seconds))
        if status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return self._answer(request, status, error.reason, str(error), headers)

    async def _https(self, request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        text = _TEXTS.get(status, error.detail)
        return self._answer(request, status, _REASONS.get(status, status.name), text, dict(error.headers or {}))

    async def _unexpected(self, request: Request, error: Exception) -> Response:
        # Starlette raises it again behind this answer, and so it is logged with its traceback.
        text = "The viewer made a mistake, which is in its log."
        return self._answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", text, {})

    def _answer(
        self, request: Request, status: HTTPStatus, reason: str, text: str, headers: dict[str, str]
    ) -> Response:
        response: Response
        if asks_for_a_page(request):
            values = {"title": status.phrase, "text": text, "reason": reason}
            response = self._templates.page(request, "error.html", status, **values)
        else:
            response = JSONResponse({"error": {"reason": reason, "message": text}}, status)
        response.headers.update(headers)
        return response
