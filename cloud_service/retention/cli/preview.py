"""What rules would delete, without deleting: by the database that a running cloud may be using."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, func, literal, select

from cloud_service.archive.storage import ArchiveStorage
from cloud_service.database.opening import attach_database
from cloud_service.database.sightings_tables import BoxesRow
from cloud_service.database.tables import RecordSegmentRow, TombstoneRow, VideoSegmentRow
from cloud_service.database.usage import Tier
from cloud_service.holds.book import HoldBook
from cloud_service.retention.figures.what_if import keeping, planning
from cloud_service.retention.items import Item, Planned, Reason
from cloud_service.retention.policy import Policy
from cloud_service.retention.view import DatabaseView
from cloud_service.settings import CloudSettings


def preview(settings: CloudSettings) -> Iterator[Planned]:
    """All that would go now, by the machine's clock.

    Raises:
        StorageError: the database cannot be used.
    """
    database = attach_database(settings.database_url)
    root, now = settings.records_folder, time.time_ns() // 1000
    try:
        policy, view = Policy.of(settings.retention), DatabaseView(database, root)
        archive, holds = ArchiveStorage(settings.archive_url).folder, HoldBook(root).active(now)
        yield from planning(policy, view, database, root, archive, holds, now).planned()
    finally:
        database.dispose()


def explain(settings: CloudSettings, camera: str, at_us: int) -> list[str]:
    """What the rules make of what a camera saw at a time, for a person.

    Args:
        at_us: microseconds since 1970.

    Raises:
        StorageError: the database cannot be used.
    """
    database = attach_database(settings.database_url)
    try:
        now = time.time_ns() // 1000
        view = DatabaseView(database, settings.records_folder)
        rules = Policy.of(settings.retention).camera(camera)
        held = keeping(HoldBook(settings.records_folder).active(now))
        lines = []
        for item in _items(database, camera, at_us):
            content = view.content(item, rules.keep_after_us, rules.keep_before_us)
            due = rules.due(item, now, lambda content=content: content)  # type: ignore[misc]
            if held(item, Reason.QUIET):
                said = "is held, and stays"
            elif due is not None:
                said = f"goes with the next pass: {due[0]} ({due[1]})"
            elif ages := rules.lines(item.tier):
                until = _time(item.kept_from_us + ages[0])
                said = f"stays until {until} at the latest, or until sizes or the floor take it"
            else:
                said = "has no limit of age; sizes or the floor may take it"
            quiet = ", quiet" if item.tier is Tier.RECORDS and rules.is_quiet(content) else ""
            lines.append(f"{item.tier} {item.number}, counted from {_time(item.kept_from_us)}{quiet}: {said}")
        of = TombstoneRow
        query = select(of.number, of.deleted_us, of.rule).where(
            of.camera == camera, of.last_capture_us >= at_us, of.first_capture_us <= at_us
        )
        with database.connect() as connection:
            for number, deleted_us, rule in connection.execute(query):
                lines.append(f"records {number}: deleted on {_time(deleted_us)} by rule {rule}")
        return lines
    finally:
        database.dispose()


def _items(database: Engine, camera: str, at_us: int) -> list[Item]:
    of, video, boxes = RecordSegmentRow, VideoSegmentRow, BoxesRow
    records = select(of.number, of.kept_from_us, of.first_capture_us, of.last_capture_us, of.disk_bytes).where(
        of.camera == camera, of.first_capture_us <= at_us, of.last_capture_us >= at_us
    )
    videos = select(video.number, video.start_us, video.start_us, video.start_us + video.duration_us, video.disk_bytes)
    videos = videos.where(
        video.camera == camera, video.path != "", video.start_us <= at_us, video.start_us + video.duration_us >= at_us
    )
    index = select(
        boxes.number, boxes.first_us, boxes.first_us, boxes.last_us, func.length(boxes.data), literal(0)
    ).where(boxes.camera == camera, boxes.first_us <= at_us, boxes.last_us >= at_us)
    with database.connect() as connection:
        found = [Item(Tier.RECORDS, camera, *row) for row in connection.execute(records)]
        found += [Item(Tier.VIDEO, camera, *row) for row in connection.execute(videos)]
        return [*found, *(Item(Tier.INDEX, camera, *row) for row in connection.execute(index))]


def _time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
