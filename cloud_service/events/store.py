"""Events: what detectors found, kept and searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, tuple_
from sqlalchemy.orm import Session

from cloud_service.database.statements import add_rows, put_rows, transaction
from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow, SkippedFrameRow
from cloud_service.detection.base import Detection
from cloud_service.events.empty_frames import CONTENT, FRAMES, BlockKey, EmptyFrames, block_key
from cloud_service.store import Position
from cloud_service.store.cursors import set_detected
from icm.frame_id import FrameId


@dataclass(frozen=True)
class FrameEvent:
    """All that one model found in one frame.

    Attributes:
        key: the frame.
        capture_us: when it was captured, microseconds since 1970.
        model: the detector's.
        detections: may be empty.
    """

    key: FrameId
    capture_us: int
    model: str
    detections: tuple[Detection, ...]


@dataclass(frozen=True)
class FrameSkipped:
    """A frame that no detector will ever look at.

    Attributes:
        key: the frame.
        why: for a person.
    """

    key: FrameId
    why: str


class EventStore:
    """Rows of ``frames``, ``detections``, ``empty_frames`` and ``skipped_frames``. Thread-safe, with one that commits.

    A frame's first event is in ``empty_frames`` if it has no detections; all others are rows of ``frames``, whose order
    says which is the newest.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def commit(
        self, events: Sequence[FrameEvent], skipped: Sequence[FrameSkipped], detected: dict[str, Position]
    ) -> None:
        """Adds events and moves the cameras' cursors in one transaction, so that each frame gives one event, ever.

        A frame that the same model has an event for already keeps it.

        Raises:
            SQLAlchemyError: the database refused; nothing changed.
        """
        whys = {frame.key: frame.why for frame in skipped}
        with transaction(self._database) as connection:
            add_events(connection, events)
            rows = [{**key._asdict(), "why": why} for key, why in whys.items()]
            put_rows(connection, SkippedFrameRow, rows, update=("why",))
            set_detected(connection, detected)

    def get(self, key: FrameId) -> FrameEvent | FrameSkipped | None:
        """The frame's newest event, or why there will be none, or None if no detector looked at it yet."""
        query = select(FrameRow).filter_by(camera=key.camera, epoch=key.epoch, sequence=key.sequence)
        with Session(self._database) as session:
            row = session.scalars(query.order_by(FrameRow.id.desc()).limit(1)).first()
            if row is not None:
                return _event(row)
            for empty in _empty_frames(session.connection(), {block_key(*key)}):
                if key.sequence in empty.captures:
                    return FrameEvent(key, empty.captures[key.sequence], empty.model, ())
            skipped = session.get(SkippedFrameRow, key)
            return FrameSkipped(key, skipped.why) if skipped is not None else None

    def unknown(self, camera: str, epoch: int, sequences: Iterable[tuple[int, int]]) -> list[FrameId]:
        """Those frames of the ranges, first and last included, of which nothing is known yet."""
        found: list[FrameId] = []
        with Session(self._database) as session:
            for first, last in sequences:
                known = set[int]()
                for table in (FrameRow, SkippedFrameRow):
                    of_camera = select(table.sequence).filter_by(camera=camera, epoch=epoch)
                    known.update(session.scalars(of_camera.where(table.sequence.between(first, last))))
                blocks = range(first // FRAMES, last // FRAMES + 1)
                for empty in _empty_frames(session.connection(), {BlockKey(camera, epoch, n) for n in blocks}):
                    known.update(empty.captures)
                found += [FrameId(camera, epoch, s) for s in range(first, last + 1) if s not in known]
        return found

    def search(
        self,
        camera: str | None = None,
        class_name: str | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        limit: int = 100,
    ) -> list[FrameEvent]:
        """Frames by camera, by a class found in them and by capture time in [from, to), newest first."""
        query = select(FrameRow).order_by(FrameRow.capture_us.desc(), FrameRow.id.desc()).limit(limit)
        empty = select(EmptyFramesRow.__table__).order_by(EmptyFramesRow.last_capture_us.desc())
        if camera is not None:
            query = query.where(FrameRow.camera == camera)
            empty = empty.where(EmptyFramesRow.camera == camera)
        if class_name is not None:
            query = query.where(FrameRow.detections.any(DetectionRow.class_name == class_name))
        if from_us is not None:
            query = query.where(FrameRow.capture_us >= from_us)
            empty = empty.where(EmptyFramesRow.last_capture_us >= from_us)
        if to_us is not None:
            query = query.where(FrameRow.capture_us < to_us)
            empty = empty.where(EmptyFramesRow.first_capture_us < to_us)
        with Session(self._database) as session:
            found = [_event(row) for row in session.scalars(query)]
            if class_name is None:
                with session.connection().execution_options(yield_per=16).execute(empty) as rows:
                    within = (event for event in _newest_first(rows) if _is_within(event, from_us, to_us))
                    found = list(islice(merge(found, within, key=_age), limit))
        return found


def add_events(connection: Connection, events: Sequence[FrameEvent]) -> None:
    """Adds events as part of the connection's transaction. A frame that the same model has an event for keeps it."""
    # Of a frame that comes twice the first counts.
    unique: dict[tuple[FrameId, str], FrameEvent] = {}
    for event in events:
        unique.setdefault((event.key, event.model), event)
    _add(connection, list(unique.values()))


def _add(connection: Connection, events: Sequence[FrameEvent]) -> None:
    """Adds events, each of another frame or model."""
    by_block: dict[BlockKey, dict[str, EmptyFrames]] = defaultdict(dict)
    for empty in _empty_frames(connection, {block_key(*event.key) for event in events}):
        by_block[empty.key][empty.model] = empty
    with_row = _with_row(connection, [event.key for event in events if not event.detections])
    rows: list[FrameEvent] = []
    changed: dict[tuple[BlockKey, str], EmptyFrames] = {}
    for event in events:
        key, sequence = block_key(*event.key), event.key.sequence
        seen_by = [model for model, empty in by_block[key].items() if sequence in empty.captures]
        if event.model in seen_by:
            continue
        if event.detections or seen_by or event.key in with_row:
            rows.append(event)
            with_row.add(event.key)
        else:
            empty = by_block[key].setdefault(event.model, EmptyFrames(key, event.model))
            empty.captures[sequence] = event.capture_us
            changed[key, event.model] = empty
    _add_rows(connection, rows)
    put_rows(connection, EmptyFramesRow, [empty.to_row() for empty in changed.values()], update=CONTENT)


def _add_rows(connection: Connection, events: Sequence[FrameEvent]) -> None:
    values = [{**event.key._asdict(), "capture_us": event.capture_us, "model": event.model} for event in events]
    returning = (FrameRow.id, FrameRow.camera, FrameRow.epoch, FrameRow.sequence, FrameRow.model)
    added = add_rows(connection, FrameRow, values, returning)
    ids = {(FrameId(row.camera, row.epoch, row.sequence), row.model): row.id for row in added}
    found = [
        {
            "frame_id": ids[event.key, event.model],
            "class_name": found.class_name,
            "score": found.score,
            "left": found.left,
            "top": found.top,
            "right": found.right,
            "bottom": found.bottom,
        }
        for event in events
        if (event.key, event.model) in ids
        for found in event.detections
    ]
    if found:
        connection.execute(insert(DetectionRow), found)


def _empty_frames(connection: Connection, keys: set[BlockKey]) -> Iterator[EmptyFrames]:
    if not keys:
        return
    of = tuple_(EmptyFramesRow.camera, EmptyFramesRow.epoch, EmptyFramesRow.block)
    for row in connection.execute(select(EmptyFramesRow.__table__).where(of.in_(sorted(keys)))).all():
        yield EmptyFrames.from_row(row)


def _with_row(connection: Connection, keys: Sequence[FrameId]) -> set[FrameId]:
    """Those frames that have a row in ``frames``, by whatever model."""
    if not keys:
        return set()
    columns = (FrameRow.camera, FrameRow.epoch, FrameRow.sequence)
    return {FrameId(*row) for row in connection.execute(select(*columns).where(tuple_(*columns).in_(keys)))}


def _newest_first(rows: Iterable[Any]) -> Iterator[FrameEvent]:
    """The events of rows that come by their last capture time, the latest first."""
    waiting: list[FrameEvent] = []
    for row in rows:
        # What is later than all that this row and those to come hold.
        ready = sum(event.capture_us > row.last_capture_us for event in waiting)
        yield from waiting[:ready]
        empty = EmptyFrames.from_row(row)
        waiting = sorted(
            [
                *waiting[ready:],
                *(
                    FrameEvent(FrameId(row.camera, row.epoch, sequence), capture_us, row.model, ())
                    for sequence, capture_us in empty.captures.items()
                ),
            ],
            key=_age,
        )
    yield from waiting


def _age(event: FrameEvent) -> int:
    return -event.capture_us


def _is_within(event: FrameEvent, from_us: int | None, to_us: int | None) -> bool:
    return (from_us is None or event.capture_us >= from_us) and (to_us is None or event.capture_us < to_us)


def _event(row: FrameRow) -> FrameEvent:
    return FrameEvent(
        FrameId(row.camera, row.epoch, row.sequence),
        row.capture_us,
        row.model,
        tuple(
            Detection(found.class_name, found.score, found.left, found.top, found.right, found.bottom)
            for found in row.detections
        ),
    )
