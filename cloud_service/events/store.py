"""Events: what detectors found, kept and searched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_service.database.tables import DetectionRow, FrameRow, SkippedFrameRow
from cloud_service.detection.base import Detection
from cloud_service.events.frame_key import FrameKey
from cloud_service.store import Position
from cloud_service.store.cursors import set_detected


@dataclass(frozen=True)
class FrameEvent:
    """All that one model found in one frame.

    Attributes:
        key: the frame.
        capture_us: when it was captured, microseconds since 1970.
        model: the detector's.
        detections: may be empty.
    """

    key: FrameKey
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

    key: FrameKey
    why: str


class EventStore:
    """Rows of ``frames``, ``detections`` and ``skipped_frames``. Thread-safe."""

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
        with Session(self._database) as session, session.begin():
            for event in events:
                if _find(session, event.key, event.model) is None:
                    session.add(_row(event))
            for frame in skipped:
                session.merge(SkippedFrameRow(**frame.key._asdict(), why=frame.why))
            for camera, position in detected.items():
                set_detected(session, camera, position)

    def get(self, key: FrameKey) -> FrameEvent | FrameSkipped | None:
        """The frame's newest event, or why there will be none, or None if no detector looked at it yet."""
        with Session(self._database) as session:
            row = _find(session, key, None)
            if row is not None:
                return _event(row)
            skipped = session.get(SkippedFrameRow, key)
            return FrameSkipped(key, skipped.why) if skipped is not None else None

    def unknown(self, camera: str, epoch: int, sequences: Iterable[tuple[int, int]]) -> list[FrameKey]:
        """Those frames of the ranges, first and last included, of which nothing is known yet."""
        found: list[FrameKey] = []
        with Session(self._database) as session:
            for first, last in sequences:
                known = set[int]()
                for table in (FrameRow, SkippedFrameRow):
                    of_camera = select(table.sequence).filter_by(camera=camera, epoch=epoch)
                    known.update(session.scalars(of_camera.where(table.sequence.between(first, last))))
                found += [FrameKey(camera, epoch, s) for s in range(first, last + 1) if s not in known]
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
        if camera is not None:
            query = query.where(FrameRow.camera == camera)
        if class_name is not None:
            query = query.where(FrameRow.detections.any(DetectionRow.class_name == class_name))
        if from_us is not None:
            query = query.where(FrameRow.capture_us >= from_us)
        if to_us is not None:
            query = query.where(FrameRow.capture_us < to_us)
        with Session(self._database) as session:
            return [_event(row) for row in session.scalars(query)]


def _find(session: Session, key: FrameKey, model: str | None) -> FrameRow | None:
    query = select(FrameRow).filter_by(camera=key.camera, epoch=key.epoch, sequence=key.sequence)
    if model is not None:
        query = query.filter_by(model=model)
    return session.scalars(query.order_by(FrameRow.id.desc()).limit(1)).first()


def _row(event: FrameEvent) -> FrameRow:
    return FrameRow(
        camera=event.key.camera,
        epoch=event.key.epoch,
        sequence=event.key.sequence,
        capture_us=event.capture_us,
        model=event.model,
        detections=[
            DetectionRow(
                class_name=found.class_name,
                score=found.score,
                left=found.left,
                top=found.top,
                right=found.right,
                bottom=found.bottom,
            )
            for found in event.detections
        ],
    )


def _event(row: FrameRow) -> FrameEvent:
    return FrameEvent(
        FrameKey(row.camera, row.epoch, row.sequence),
        row.capture_us,
        row.model,
        tuple(
            Detection(found.class_name, found.score, found.left, found.top, found.right, found.bottom)
            for found in row.detections
        ),
    )
