"""``/cameras/{camera}/frame/{epoch}/{sequence}``, and the frame's picture as a file below it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.client.cloud import AsyncCloudClient
from icm.client.inspection import FrameInspection
from icm.client.messages import Detections
from icm.errors import NotFoundError
from icm.frame_id import FrameId

_FRAME = "/cameras/{camera}/frame/{epoch}/{sequence}"
_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}
_SUFFIXES = {"jpeg": "jpg", "png": "png"}
_MOST = (1 << 64) - 1
_DIGITS = 20
_FOR_EVER = "private, max-age=3600, immutable"
"""A frame never changes; but who may see it can, so browsers ask again after an hour."""


class InspectorPages:
    """The pages about single frames."""

    def __init__(self, cloud: AsyncCloudClient, templates: Templates) -> None:
        """Asks the cloud, which alone decodes.

        Args:
            cloud: whose frames they are.
            templates: for the page.
        """
        self._cloud, self._templates = cloud, templates

    def pages(self) -> list[Page]:
        """For the routes."""
        return [
            Page(_FRAME, self._inspect, Right.VIEW),
            Page(f"{_FRAME}/picture.jpg", self._jpeg, Right.VIEW),
            Page(f"{_FRAME}/picture.png", self._png, Right.VIEW),
        ]

    async def _inspect(self, request: Request) -> Response:
        seen = await self._cloud.inspect(_frame_of(request))
        return self._templates.page(
            request,
            "frame.html",
            seen=seen,
            captured_us=round(seen.captured.timestamp() * 1e6),
            here=path_of(seen.frame),
            previous=seen.previous and path_of(seen.previous),
            next=seen.next and path_of(seen.next),
            reference=seen.reference and path_of(seen.reference),
            drawn=_drawn(seen),
        )

    async def _jpeg(self, request: Request) -> Response:
        return await self._picture(request, "jpeg")

    async def _png(self, request: Request) -> Response:
        return await self._picture(request, "png")

    async def _picture(self, request: Request, form: str) -> Response:
        frame, decoder = _frame_of(request), request.query_params.get("decoder", "finetuned")
        headers = {"cache-control": _FOR_EVER}
        if form == "png":
            name = f"{frame.camera}-{frame.epoch}-{frame.sequence}-{decoder}.{_SUFFIXES[form]}"
            headers["content-disposition"] = f'attachment; filename="{name}"'
        return Response(
            await self._cloud.picture(frame, form, decoder=decoder), headers=headers, media_type=_TYPES[form]
        )


def path_of(frame: FrameId) -> str:
    """Where a frame is looked into."""
    return f"/cameras/{frame.camera}/frame/{frame.epoch}/{frame.sequence}"


def _frame_of(request: Request) -> FrameId:
    """The frame that an address names.

    Raises:
        NotFoundError: no frame can have such a name.
    """
    epoch, sequence = (request.path_params[name] for name in ("epoch", "sequence"))
    for text in (epoch, sequence):
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= _MOST):
            raise NotFoundError("a frame is named by its epoch and its sequence, two whole numbers")
    return FrameId(request.path_params["camera"], int(epoch), int(sequence))


def _drawn(seen: FrameInspection) -> dict[str, Any]:
    """What the page draws over the picture, for its script."""
    return {
        "width": seen.width,
        "height": seen.height,
        "columns": seen.columns,
        "bits": [round(bits, 1) for bits in seen.bits],
        "models": [{"model": of.model, "boxes": _boxes(of)} for of in seen.detections],
    }


def _boxes(detections: Detections) -> list[list[Any]]:
    return [[box.class_name, round(box.score, 3), box.left, box.top, box.right, box.bottom] for box in detections.boxes]
