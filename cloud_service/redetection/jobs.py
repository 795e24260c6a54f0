"""Jobs in the database: what is to be detected anew, and how far that got."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from cloud_service.database.redetection_tables import RedetectionRow, RedetectionUnitRow
from cloud_service.database.statements import transaction
from cloud_service.database.tables import RecordSegmentRow
from cloud_service.events.store import FrameEvent, add_events
from cloud_service.redetection.weights import Weights
from cloud_service.sightings.folding import fold_events, lock_folding
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.store import Segment
from icm.errors import ConfigError, NotFoundError


class State(enum.StrEnum):
    """Of a job. The last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


_NUMBERS = 1 << 63
"""No database has a row of this number or above."""
_OPEN = (State.WAITING, State.RUNNING)
_UNENDED = (*_OPEN, State.PAUSED)


@dataclass(frozen=True)
class Order:
    """What is to be detected anew.

    Attributes:
        cameras: their names.
        from_us: earliest capture time, microseconds since 1970.
        to_us: capture time from which on frames are left alone.
        weights: to detect with.
        every: only frames are looked at whose sequence this divides.
        changed: whether frames in which little changed take over what was found in the one before.
    """

    cameras: tuple[str, ...]
    from_us: int
    to_us: int
    weights: Weights
    every: int = 1
    changed: bool = False


@dataclass(frozen=True)
class Job:
    """A job; for the rest see ``Order``.

    Attributes:
        problem: why it failed, for a person; empty if it did not.
        cameras: whose frames, where that was asked for.
    """

    id: int
    state: State
    weights: Weights
    model: str
    every: int
    changed: bool
    from_us: int
    to_us: int
    created_us: int
    problem: str
    cameras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unit:
    """One camera of a job: its segments ``next_segment`` to ``last_segment`` are to be looked at still."""

    camera: str
    next_segment: int
    last_segment: int


@dataclass
class Counts:
    """What became of segments and their frames.

    Attributes:
        segments: how many there are.
        done: how many were passed.
        lost: of these, those that were gone or could not be read whole.
        frames: that have detections by the job.
        looked_at: of these, those that the detector saw.
        skipped: frames that could not be decoded, or that the detector failed on.
        objects: found in all.
    """

    segments: int = 0
    done: int = 0
    lost: int = 0
    frames: int = 0
    looked_at: int = 0
    skipped: int = 0
    objects: int = 0


class RedetectionJobs:
    """Rows of ``redetections`` and ``redetection_units``. Every method raises SQLAlchemyError where the database
    refuses.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def add(self, order: Order, now_us: int) -> tuple[int, Counts]:
        """Makes a job over the segments that are sealed by now; returns its number, and how many segments and frames.

        Raises:
            ConfigError: a camera has no records, or none of them has any in the range.
        """
        units, frames = self._plan(order)
        job = {
            "state": State.WAITING, "detector": order.weights.kind, "weights": str(order.weights.path),
            "sha256": order.weights.sha256, "model": order.weights.model, "every": order.every,
            "changed": order.changed, "from_us": order.from_us, "to_us": order.to_us, "created_us": now_us,
            "problem": "",
        }  # fmt: skip
        with transaction(self._database) as connection:
            added = connection.execute(insert(RedetectionRow).returning(RedetectionRow.id), [job])
            number = int(added.scalar_one())
            connection.execute(
                insert(RedetectionUnitRow),
                [{"job_id": number, **asdict(unit), **asdict(Counts(segments=count))} for unit, count in units],
            )
        return number, Counts(segments=sum(count for _, count in units), frames=frames)

    def next(self) -> Job | None:
        """The oldest job that is not at its end."""
        with self._database.connect() as connection:
            query = select(RedetectionRow.__table__).where(RedetectionRow.state.in_(_OPEN)).order_by(RedetectionRow.id)
            row = connection.execute(query.limit(1)).first()
            return None if row is None else _job(row)

    def overview(self) -> list[tuple[Job, Counts]]:
        """All jobs with their cameras, and how far they got, the newest first."""
        names = list(asdict(Counts()))
        with self._database.connect() as connection:
            jobs = connection.execute(select(RedetectionRow.__table__).order_by(RedetectionRow.id.desc())).all()
            units = connection.execute(select(RedetectionUnitRow.__table__).order_by(RedetectionUnitRow.camera)).all()
        counted: dict[int, Counts] = {}
        cameras: dict[int, list[str]] = {}
        for unit in units:
            counts = counted.setdefault(unit.job_id, Counts())
            for name in names:
                setattr(counts, name, getattr(counts, name) + getattr(unit, name))
            cameras.setdefault(unit.job_id, []).append(unit.camera)
        return [
            (replace(_job(row), cameras=tuple(cameras.get(row.id, ()))), counted.get(row.id, Counts())) for row in jobs
        ]

    def units(self, job: int) -> Sequence[Unit]:
        """Where a job is to go on, by camera."""
        columns = RedetectionUnitRow.camera, RedetectionUnitRow.next_segment, RedetectionUnitRow.last_segment
        with self._database.connect() as connection:
            query = select(*columns).filter_by(job_id=job).order_by(RedetectionUnitRow.camera)
            return [Unit(*row) for row in connection.execute(query)]

    def is_open(self, job: int) -> bool:
        """Whether a job is to be worked on."""
        with self._database.connect() as connection:
            return connection.execute(select(RedetectionRow.state).filter_by(id=job)).scalar() in _OPEN

    def begin(self, job: int) -> None:
        """A waiting job runs now."""
        with self._database.begin() as connection:
            waiting = update(RedetectionRow).filter_by(id=job, state=State.WAITING)
            connection.execute(waiting.values(state=State.RUNNING))

    def keep(
        self, job: int, segment: Segment, size: PictureSize | None, events: Sequence[FrameEvent], counts: Counts
    ) -> bool:
        """Keeps what was found in a segment, and that it was passed, in one transaction; so no segment counts twice.

        Where the live detector's events of the segment are folded into sightings already, these are too, beside them;
        else they will be together. Of a segment that was deleted meanwhile nothing is kept, and it counts as lost.

        Args:
            segment: which was passed; a camera's come in the order of their numbers.
            size: of its pictures; None where none could be read.

        Returns:
            False if the job was cancelled meanwhile: nothing was kept.
        """
        with transaction(self._database) as connection:
            # Who cancels waits for this transaction, or this one sees it.
            locked = select(RedetectionRow.state).filter_by(id=job).with_for_update()
            if connection.execute(locked).scalar() not in _OPEN:
                return False
            # Whoever folds or deletes waits until this is done.
            folded_to = lock_folding(connection, segment.camera)
            if not _is_there(connection, segment):
                events, counts = (), Counts(done=counts.done, lost=counts.done)
            changes = {
                getattr(RedetectionUnitRow, name): getattr(RedetectionUnitRow, name) + count
                for name, count in asdict(counts).items()
            }
            unit = update(RedetectionUnitRow).filter_by(job_id=job, camera=segment.camera)
            connection.execute(unit.values({**changes, RedetectionUnitRow.next_segment: segment.number + 1}))
            if events and segment.number < folded_to:
                fold_events(connection, segment, size, events)
            elif events:
                add_events(connection, events)
        return True

    def end(self, job: int, state: State, problem: str = "") -> bool:
        """Ends a job that is worked on or waits for that; returns whether it did."""
        return self._move(job, _OPEN, state, problem)

    def cancel(self, job: int) -> None:
        """Cancels a job; what it has found stays.

        Raises:
            NotFoundError: there is no such job.
            ConfigError: it is at its end already.
        """
        self._change(job, _UNENDED, State.CANCELLED)

    def pause(self, job: int) -> None:
        """Has a job stand still before its next segment, and those behind it go on.

        Raises:
            NotFoundError: there is no such job.
            ConfigError: it stands still, or is at its end.
        """
        self._change(job, _OPEN, State.PAUSED)

    def resume(self, job: int) -> None:
        """Has a job go on that stands still.

        Raises:
            NotFoundError: there is no such job.
            ConfigError: it does not stand still.
        """
        self._change(job, (State.PAUSED,), State.WAITING)

    def _change(self, job: int, before: Sequence[State], after: State) -> None:
        if not 0 < job < _NUMBERS:
            raise NotFoundError(_none(job))
        if self._move(job, before, after):
            return
        with self._database.connect() as connection:
            state = connection.execute(select(RedetectionRow.state).filter_by(id=job)).scalar()
        if state is None:
            raise NotFoundError(_none(job))
        raise ConfigError(f"re-detection {job} is {state} already")

    def _move(self, job: int, before: Sequence[State], after: State, problem: str = "") -> bool:
        with self._database.begin() as connection:
            found = update(RedetectionRow).where(RedetectionRow.id == job, RedetectionRow.state.in_(before))
            return bool(connection.execute(found.values(state=after, problem=problem)).rowcount)

    def _plan(self, order: Order) -> tuple[list[tuple[Unit, int]], int]:
        """The units with how many segments each has, and how many frames they hold in all."""
        of = RecordSegmentRow
        units, frames = [], 0
        with self._database.connect() as connection:
            for camera in order.cameras:
                known = connection.execute(select(of.number).filter_by(camera=camera).limit(1)).first()
                if known is None:
                    raise ConfigError(f"there are no records of a camera {camera[:80]!r}; ListCameras names them")
                within = select(func.min(of.number), func.max(of.number), func.count(), func.sum(of.records)).where(
                    of.camera == camera, of.first_capture_us < order.to_us, of.last_capture_us >= order.from_us
                )
                first, last, count, records = connection.execute(within).one()
                if count:
                    units.append((Unit(camera, first, last), count))
                    frames += int(records)
        if not units:
            raise ConfigError("none of these cameras has a closed segment in that range; nothing is to be done")
        return units, frames


def _is_there(connection: Connection, segment: Segment) -> bool:
    known = select(RecordSegmentRow.number).filter_by(camera=segment.camera, number=segment.number)
    return connection.execute(known).first() is not None


def _none(job: int) -> str:
    return f"there is no re-detection {job}; `icm-cloud redetect status` lists them"


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        state=State(row.state),
        weights=Weights(row.detector, Path(row.weights), row.sha256),
        model=row.model,
        every=row.every,
        changed=row.changed,
        from_us=row.from_us,
        to_us=row.to_us,
        created_us=row.created_us,
        problem=row.problem,
    )
