"""``/storage``: what takes the disk, when it will be full, and what other rules would delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from cloud_service.viewer.accounts.roles import Visitor
from cloud_service.viewer.keeping.fields import read_number, us_of
from cloud_service.viewer.web.errors import status_of
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Templates
from icm.client.cloud import AsyncCloudClient
from icm.client.keeping.storage import PlannedDeletion, RetentionPlan, Storage
from icm.errors import IcmError

STORAGE = "/storage"
KINDS = {
    "records": "Records",
    "held": "Held",
    "video": "Video",
    "thumbnails": "Thumbnails",
    "index": "Index",
    "rendered": "Rendered on demand",
    "other": "Other files",
    "free": "Free",
}
"""What takes the disk, in the order of the bar."""
_WIDTH = 1000
_DAY_SECONDS = 86_400
_GIGABYTE = 1e9
_MOST_DAYS = 36_500.0
_MOST_GIGABYTES = 1e9


@dataclass(frozen=True)
class Knob:
    """A rule that the preview can change.

    Attributes:
        name: of the field.
        setting: below ``retention``.
        text: for a person.
        unit: what one of the field is, in the setting's unit.
        unit_name: for a person.
    """

    name: str
    setting: str
    text: str
    unit: float
    unit_name: str


KNOBS = (
    Knob("records", "records.max_age_seconds", "Records, at most", _DAY_SECONDS, "days"),
    Knob("video", "video.max_age_seconds", "Video, at most", _DAY_SECONDS, "days"),
    Knob("thumbnails", "thumbnails.max_age_seconds", "Thumbnails, at most", _DAY_SECONDS, "days"),
    Knob("index", "index.max_age_seconds", "Index, at most", _DAY_SECONDS, "days"),
    Knob("quiet", "quiet.max_age_seconds", "Quiet records, at most", _DAY_SECONDS, "days"),
    Knob("camera", "records.max_bytes_per_camera", "Records of each camera, at most", _GIGABYTE, "GB"),
    Knob("total", "total.max_bytes", "All together, at most", _GIGABYTE, "GB"),
)


@dataclass(frozen=True)
class Share:
    """A piece of the bar.

    Attributes:
        kind: one of ``KINDS``.
        text: for a person.
        bytes: that it takes.
        percent: of the disk.
        left: where it begins, of ``_WIDTH``.
        width: how wide it is, likewise.
    """

    kind: str
    text: str
    bytes: int
    percent: float
    left: float
    width: float


@dataclass(frozen=True)
class Preview:
    """A plan as the page shows it.

    Attributes:
        deletions: of cameras that the visitor sees.
        unseen_bytes: of others.
        bytes: of all of them that the disk would get back.
        plan: all of it.
    """

    deletions: Sequence[PlannedDeletion]
    unseen_bytes: int
    bytes: int
    plan: RetentionPlan


@dataclass(frozen=True)
class StoragePages:
    """For who operates.

    Attributes:
        cloud: knows its disk, and plans.
        templates: for the page.
    """

    cloud: AsyncCloudClient
    templates: Templates

    def pages(self) -> list[Page]:
        """For the routes."""
        return [Page(STORAGE, self._show, Right.OPERATE)]

    async def _show(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        storage = await self.cloud.storage()
        form, problem, status, preview = dict(request.query_params), "", 200, None
        if "preview" in form:
            try:
                preview = _preview(visitor, await self.cloud.plan_retention(changes_of(form)))
            except IcmError as error:
                problem, status = str(error), status_of(error)
        seen = {camera: tiers for camera, tiers in storage.cameras.items() if visitor.sees(camera)}
        return self.templates.page(
            request,
            "keeping/storage.html",
            status,
            storage=storage,
            shares=bar_of(storage.shares, storage.disk_bytes),
            cameras={camera: {tier.tier: tier for tier in tiers} for camera, tiers in seen.items()},
            hidden=len(storage.cameras) - len(seen),
            overdue=sum(storage.overdue_bytes.values()),
            knobs=KNOBS,
            now={knob.name: _now(storage, knob) for knob in KNOBS},
            form=form,
            problem=problem,
            preview=preview,
            us=us_of,
        )


def changes_of(form: Mapping[str, str]) -> list[str]:
    """The rules that a form changes, as the cloud takes them.

    Raises:
        ConfigError: a field is no number.
    """
    changes = []
    for knob in KNOBS:
        most = _MOST_DAYS if knob.unit == _DAY_SECONDS else _MOST_GIGABYTES
        if (value := read_number(form, knob.name, knob.text.partition(",")[0], most)) is not None:
            changes.append(f"{knob.setting}={round(value * knob.unit)}")
    return changes


def bar_of(shares: Mapping[str, int], disk_bytes: int) -> list[Share]:
    """The pieces of the bar, of which each is where the one before ends."""
    found, left = [], 0.0
    for kind, text in KINDS.items():
        size = shares.get(kind, 0)
        part = size / disk_bytes if disk_bytes else 0.0
        found.append(Share(kind, text, size, 100 * part, left, _WIDTH * part))
        left += _WIDTH * part
    return found


def _preview(visitor: Visitor, plan: RetentionPlan) -> Preview:
    # A database's file does not shrink.
    freed = [each for each in plan.deletions if each.tier != "index"]
    return Preview(
        deletions=[each for each in plan.deletions if visitor.sees(each.camera)],
        unseen_bytes=sum(each.bytes for each in freed if not visitor.sees(each.camera)),
        bytes=sum(each.bytes for each in freed),
        plan=plan,
    )


def _now(storage: Storage, knob: Knob) -> str:
    """What holds now, as the field would have it; empty for no limit."""
    section, _, name = knob.setting.partition(".")
    value = storage.rules.get(section, {}).get(name)
    return f"{value / knob.unit:g}" if isinstance(value, int | float) else ""
