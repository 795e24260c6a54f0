"""Events: what detectors found, kept and searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Engine, insert, select, tuple_
from sqlalchemy.orm import Session

from cloud_service.database.statements import add_rows, put_rows, transaction
from cloud_service.database.tables import DetectionRow, EmptyFramesRow, FrameRow, SkippedFrameRow
from cloud_service.events.empty_frames import CONTENT, FRAMES, BlockKey, EmptyFrames, block_key, empty_frames
from cloud_service.events.event import FrameEvent, FrameSkipped
from cloud_service.events.forgotten import check_not_forgotten
from cloud_service.events.packed_frames import is_packed, packed_event, packed_events, packed_sequences
from cloud_service.events.searching import event_of, search_events
from cloud_service.store import Position
from cloud_service.store.cursors import set_detected
from icm.frame_id import FrameId

__all__ = ["EventStore", "FrameEvent", "FrameSkipped"]


class EventStore:
    """Rows of ``frames``, ``detections``, ``empty_frames`` and ``skipped_frames``, and what of them is packed.
    Thread-safe, with one that commits.

    A frame's first event is in ``empty_frames`` if it has no detections; all others are rows of ``frames``, whose order
    says which is the newest. Once the detector is done with a segment, those are packed into rows of ``boxes``
    (``sightings.folding``), whose order does.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def commit(
        self, events: Sequence[FrameEvent], skipped: Sequence[FrameSkipped], detected: dict[str, Position]
    ) -> None:
        """Adds events and moves the cameras' cursors in one transaction, so that each frame gives one event, ever.

        A frame that the same model has an event for already keeps it. These are events of frames that detectors come
        to as they arrive; who looks at the past again uses ``sightings.folding.fold_events``.

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
                return event_of(row)
            if (packed := packed_event(session.connection(), key)) is not None:
                return packed
            for empty in empty_frames(session.connection(), {block_key(*key)}):
                if key.sequence in empty.captures:
                    return FrameEvent(key, empty.captures[key.sequence], empty.model, ())
            skipped = session.get(SkippedFrameRow, key)
            return FrameSkipped(key, skipped.why) if skipped is not None else None

    def check_not_forgotten(self, key: FrameId) -> None:
        """Checks that what was found in a frame, of which there is no event, was not deleted.

        Raises:
            FrameDeletedError: it may have been.
        """
        with self._database.connect() as connection:
            check_not_forgotten(connection, key)

    def of_each_model(self, key: FrameId) -> list[FrameEvent]:
        """What each detector that looked at a frame found in it, the newest first."""
        query = select(FrameRow).filter_by(camera=key.camera, epoch=key.epoch, sequence=key.sequence)
        with Session(self._database) as session:
            events = [event_of(row) for row in session.scalars(query.order_by(FrameRow.id.desc()))]
            events += packed_events(session.connection(), key)
            events += [
                FrameEvent(key, empty.captures[key.sequence], empty.model, ())
                for empty in empty_frames(session.connection(), {block_key(*key)})
                if key.sequence in empty.captures
            ]
        by_model: dict[str, FrameEvent] = {}
        for event in events:
            by_model.setdefault(event.model, event)
        return list(by_model.values())

    def unknown(self, camera: str, epoch: int, sequences: Iterable[tuple[int, int]]) -> list[FrameId]:
        """Those frames of the ranges, first and last included, of which nothing is known yet."""
        found: list[FrameId] = []
        with Session(self._database) as session:
            for first, last in sequences:
                known = set[int]()
                for table in (FrameRow, SkippedFrameRow):
                    of_camera = select(table.sequence).filter_by(camera=camera, epoch=epoch)
                    known.update(session.scalars(of_camera.where(table.sequence.between(first, last))))
                blocks = {BlockKey(camera, epoch, n) for n in range(first // FRAMES, last // FRAMES + 1)}
                for empty in empty_frames(session.connection(), blocks):
                    known.update(empty.captures)
                for packed in packed_sequences(session.connection(), blocks).values():
                    known.update(s for _, held in packed for low, high in held for s in range(low, high + 1))
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
        return search_events(self._database, camera, class_name, from_us, to_us, limit)


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
    for empty in empty_frames(connection, {block_key(*event.key) for event in events}):
        by_block[empty.key][empty.model] = empty
    packed = packed_sequences(connection, {block_key(*event.key) for event in events})
    with_row = _with_row(connection, [event.key for event in events if not event.detections])
    rows: list[FrameEvent] = []
    changed: dict[tuple[BlockKey, str], EmptyFrames] = {}
    for event in events:
        key, sequence = block_key(*event.key), event.key.sequence
        seen_by = [model for model, empty in by_block[key].items() if sequence in empty.captures]
        if event.model in seen_by or is_packed(packed, event):
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


def _with_row(connection: Connection, keys: Sequence[FrameId]) -> set[FrameId]:
    """Those frames that have a row in ``frames``, by whatever model."""
    if not keys:
        return set()
    columns = (FrameRow.camera, FrameRow.epoch, FrameRow.sequence)
    return {FrameId(*row) for row in connection.execute(select(*columns).where(tuple_(*columns).in_(keys)))}
