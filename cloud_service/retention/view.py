"""The archive as the database knows it, for what is planned: never a walk through folders."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import ColumnElement, Engine, func, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from cloud_service.database.retention_tables import ForgottenRow, StillRow
from cloud_service.database.sightings_tables import BoxesRow
from cloud_service.database.tables import CursorRow, RecordSegmentRow, VideoSegmentRow
from cloud_service.database.usage import Tier, read_usage
from cloud_service.retention.items import Content, Item, Place
from cloud_service.sightings.scores import best_scores
from cloud_service.store.index.rows import READABLE, State
from cloud_service.store.keyframes import KEYFRAME_SUFFIX, amount_of

PAGE = 64
"""Items that are read together."""


class DatabaseView:
    """See ``View``. Every method raises SQLAlchemyError where the database does not answer."""

    def __init__(self, database: Engine, root: Path) -> None:
        """Looks at a database.

        Args:
            root: the store's folder, where sizes of key frames are asked for.
        """
        self._database, self._root = database, root

    def cameras(self) -> list[str]:
        """See ``View``."""
        return sorted({key.camera for key, amount in read_usage(self._database).items() if amount.files})

    def missing(self) -> tuple[int, int]:
        """How many segments of records are missing, and how many are there."""
        of = RecordSegmentRow
        # The first condition is that of the index of those few.
        query = select(func.count()).where(of.state != "whole", of.state == State.GONE)
        with self._database.connect() as connection:
            missing = connection.scalar(query) or 0
        usage = read_usage(self._database)
        return missing, sum(amount.files for key, amount in usage.items() if key.tier is Tier.RECORDS)

    def bytes_before(self, tier: Tier, camera: str, before_us: int | None = None) -> int:
        """What a camera's items of a tier take whose age counts from before a time; None for all."""
        size, age, of = {
            Tier.RECORDS: (RecordSegmentRow.disk_bytes, RecordSegmentRow.kept_from_us, RecordSegmentRow.camera),
            Tier.STILLS: (StillRow.disk_bytes, StillRow.kept_from_us, StillRow.camera),
            Tier.VIDEO: (VideoSegmentRow.disk_bytes, VideoSegmentRow.start_us, VideoSegmentRow.camera),
            Tier.THUMBNAILS: (VideoSegmentRow.thumbnail_disk_bytes, VideoSegmentRow.start_us, VideoSegmentRow.camera),
            Tier.INDEX: (func.length(BoxesRow.data), BoxesRow.first_us, BoxesRow.camera),
        }[tier]
        query = select(func.sum(size)).where(of == camera, *(() if before_us is None else (age < before_us,)))
        with self._database.connect() as connection:
            return int(connection.scalar(query) or 0)

    def oldest_us(self, tier: Tier, camera: str) -> int | None:
        """What the age of a camera's oldest item of a tier counts from; None if there is none."""
        records, video, boxes = RecordSegmentRow, VideoSegmentRow, BoxesRow
        age, there = {
            Tier.RECORDS: (records.kept_from_us, (records.camera == camera, records.state.in_(READABLE))),
            Tier.VIDEO: (video.start_us, (video.camera == camera, video.path != "")),
            Tier.THUMBNAILS: (video.start_us, (video.camera == camera, video.thumbnail_path != "")),
            Tier.INDEX: (boxes.first_us, (boxes.camera == camera,)),
        }[tier]
        with self._database.connect() as connection:
            return connection.scalar(select(age).where(*there).order_by(age).limit(1))

    def page(self, tier: Tier, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        """See ``View``."""
        match tier:
            case Tier.RECORDS:
                return self._records(camera, after, before_us)
            case Tier.STILLS:
                return self._stills(camera, after, before_us)
            case Tier.VIDEO | Tier.THUMBNAILS:
                return self._derived(tier, camera, after, before_us)
            case Tier.INDEX:
                return self._index(camera, after, before_us)
            case Tier.KEYFRAMES:
                return []

    def content(self, item: Item, before_us: int, after_us: int) -> Content:
        """See ``View``."""
        from_us, to_us = item.first_capture_us - before_us, item.last_capture_us + after_us
        of = RecordSegmentRow
        with self._database.connect() as connection:
            detect = connection.scalar(select(CursorRow.detect_segment).where(CursorRow.camera == item.camera)) or 0
            following = connection.scalar(
                select(of.first_capture_us)
                .where(of.camera == item.camera, of.number >= detect, of.state.in_(READABLE))
                .order_by(of.number)
                .limit(1)
            )
            detected = detect > item.number and (following is None or following > to_us)
            forgotten_us = connection.scalar(select(ForgottenRow.last_us).where(ForgottenRow.camera == item.camera))
            known = forgotten_us is None or forgotten_us < from_us
            return Content(detected, best_scores(connection, item.camera, from_us, to_us + 1), known)

    def _records(self, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        of = RecordSegmentRow
        query = (
            select(of.number, of.kept_from_us, of.first_capture_us, of.last_capture_us, of.disk_bytes, of.path)
            .where(of.camera == camera, of.state.in_(READABLE), *_range(of.kept_from_us, of.number, after, before_us))
            .order_by(of.kept_from_us, of.number)
            .limit(PAGE)
        )
        items = []
        with self._database.connect() as connection:
            for number, kept_from_us, first_us, last_us, disk_bytes, path in connection.execute(query):
                keyframe = amount_of((self._root / path).with_suffix(KEYFRAME_SUFFIX))
                size, files = disk_bytes + keyframe.disk_bytes, 1 + keyframe.files
                items.append(Item(Tier.RECORDS, camera, number, kept_from_us, first_us, last_us, size, files))
        return items

    def _stills(self, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        of = StillRow
        query = (
            select(of.number, of.kept_from_us, of.first_capture_us, of.last_capture_us, of.disk_bytes)
            .where(of.camera == camera, *_range(of.kept_from_us, of.number, after, before_us))
            .order_by(of.kept_from_us, of.number)
            .limit(PAGE)
        )
        with self._database.connect() as connection:
            return [Item(Tier.STILLS, camera, *row) for row in connection.execute(query)]

    def _index(self, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        of = BoxesRow
        query = (
            select(of.number, of.first_us, of.first_us, of.last_us, func.length(of.data), literal(0))
            .where(of.camera == camera, *_range(of.first_us, of.number, after, before_us))
            .order_by(of.first_us, of.number)
            .limit(PAGE)
        )
        with self._database.connect() as connection:
            return [Item(Tier.INDEX, camera, *row) for row in connection.execute(query)]

    def _derived(self, tier: Tier, camera: str, after: Place | None, before_us: int | None) -> list[Item]:
        of = VideoSegmentRow
        path, disk = (of.path, of.disk_bytes) if tier is Tier.VIDEO else (of.thumbnail_path, of.thumbnail_disk_bytes)
        query = (
            select(of.number, of.start_us, of.start_us, of.start_us + of.duration_us, disk)
            .where(of.camera == camera, path != "", *_range(of.start_us, of.number, after, before_us))
            .order_by(of.start_us, of.number)
            .limit(PAGE)
        )
        with self._database.connect() as connection:
            return [Item(tier, camera, *row) for row in connection.execute(query)]


def _range(
    age: InstrumentedAttribute[int], number: InstrumentedAttribute[int], after: Place | None, before_us: int | None
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if after is not None:
        # The first alone is what an index is searched by.
        found += [age >= after.kept_from_us, tuple_(age, number) > tuple_(after.kept_from_us, after.number)]
    if before_us is not None:
        found.append(age < before_us)
    return found
