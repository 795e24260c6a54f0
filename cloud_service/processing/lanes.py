"""Lanes: who reads a camera's log, and how far.

One reader per camera, ``live``, serves detector and archive alike. After a restart it begins with the segment that it
was in, as only a segment's start stands by itself, and that only if it begins with an I record or has a keyframe; else
with the nearest one before: what was detected and rendered before is decoded, not detected or rendered again. Where the
archive could not be written, a second reader, ``catch-up``, renders from the missing segment on until it meets the
first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.processing.engine.base import LaneId, Work
from cloud_service.store import Chunk, Position, RecordStore, SegmentKeyframes
from cloud_service.store.cursors import load_cursors
from icm.codec.bitstream.record import Kind
from icm.service.clock import Clock
from icm.service.health import HealthPart, Problems

log = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
"""How long to wait before trying again what the disk or the database refused."""
_LIVE, _CATCH_UP = "live", "catch-up"


@dataclass
class Lane:
    """One reader. It detects from ``detect_from`` on, or nothing if that is None, and renders from the segment
    ``archive_from`` on, if it does.

    Attributes:
        records: the camera's records as a part of the service's health.
        position: of the first record whose result was not taken yet; until the lane ``stands``, what it is to reach.
        busy: whether the engine has work of it.
        not_before: when it may go on, in monotonic seconds.
        stands: whether the position is one where reading can begin.
    """

    id: LaneId
    records: HealthPart
    position: Position
    detect_from: Position | None
    archive: bool
    archive_from: int
    busy: bool = False
    not_before: float = 0.0
    stands: bool = False

    @property
    def detects(self) -> bool:
        return self.detect_from is not None and self.position >= self.detect_from

    @property
    def renders(self) -> bool:
        return self.archive and self.position.segment >= self.archive_from


class Lanes:
    """The lanes of all cameras. Belongs to the pipeline's thread, but for ``backlog_bytes``.

    Attributes:
        database_part: the database as a part of the service's health.
    """

    def __init__(self, *, store: RecordStore, database: Database, problems: Problems, clock: Clock) -> None:
        self._store, self._database, self._problems, self._clock = store, database, problems, clock
        self.database_part = problems.part("database")
        self._live: dict[str, Lane] = {}
        self._catch_up: dict[str, Lane] = {}
        self._turn = 0

    def ready(self) -> list[Lane]:
        """The lanes that may be given work now, in an order in which every one is first in its turn."""
        for camera in self._store.names():
            if camera not in self._live:
                self._open_camera(camera)
        now = self._clock.monotonic()
        lanes = [
            lane
            for lane in (*self._live.values(), *self._catch_up.values())
            if not lane.busy and lane.not_before <= now
        ]
        self._turn += 1
        first = self._turn % len(lanes) if lanes else 0
        return lanes[first:] + lanes[:first]

    def read(self, lane: Lane, limit: int) -> Chunk | None:
        """A lane's next records, at most ``limit``; None if there are none yet. Raises as ``RecordStore.read`` does."""
        camera = lane.id.camera
        if not lane.stands:
            lane.position = Position(self._store.decodable_from(camera, lane.position.segment), 0)
            lane.stands = True
        if lane.detect_from is None:
            return self._store.read(camera, lane.position, limit, until=self._live[camera].position)
        if not lane.detects:
            again = self._store.read(camera, lane.position, limit, until=lane.detect_from)
            if again is not None:
                return again
            lane.position = lane.detect_from  # that segment's file is gone
        return self._store.read(camera, lane.position, limit)

    def render_again(self, camera: str, segment: int) -> Lane:
        """Lets the archive of a camera be served from this segment on by a lane of its own, which this returns."""
        self._live[camera].archive = False
        start = Position(segment, 0)
        records = self._live[camera].records
        lane = Lane(LaneId(camera, _CATCH_UP), records, start, None, archive=True, archive_from=segment)
        self._catch_up[camera] = lane
        return lane

    def join(self, camera: str) -> None:
        """Ends the catch-up lane where it meets the live one. What the engine has of that one is not rendered by it."""
        live, behind = self._live[camera], self._catch_up.get(camera)
        if behind is not None and not live.busy and behind.position == live.position:
            del self._catch_up[camera]
            live.archive = True

    def delay(self, lane: Lane, part: HealthPart, text: str) -> None:
        """Lets a lane rest for a while, for a reason that is its part's problem."""
        lane.not_before = self._clock.monotonic() + RETRY_SECONDS
        if part.report(text):
            log.error("%s: %s; trying again every %g s", part.name, text, RETRY_SECONDS)

    def backlog_bytes(self) -> dict[str, int]:
        """For each camera, the bytes of records that wait for the detector.

        Raises:
            StorageError: the database does not answer.
        """
        return {camera: self._store.bytes_after(camera, lane.position) for camera, lane in list(self._live.items())}

    def _open_camera(self, camera: str) -> None:
        try:
            cursors = load_cursors(self._database, camera)
        except SQLAlchemyError as error:
            self.database_part.report(trouble(error))
            return
        begun = cursors.detect.segment
        start = Position(begun, 0)
        records = self._problems.part("records", camera)
        self._live[camera] = Lane(
            LaneId(camera, _LIVE), records, start, cursors.detect, archive=True, archive_from=begun
        )
        if cursors.archive < begun:
            self.render_again(camera, cursors.archive)


def work_of(
    lane: LaneId, chunk: Chunk, keyframes: SegmentKeyframes, *, detect: bool, archive: bool, watched: bool = False
) -> Work:
    """Records as work for the engine, with the keyframe that the segment has, if they may need it."""
    first = chunk.records[0] if chunk.starts and chunk.records else None
    return Work(
        lane=lane,
        segment=chunk.segment.number,
        header=chunk.header,
        records=tuple(chunk.records),
        starts=chunk.starts,
        ends=chunk.ended,
        keyframe=keyframes.read(chunk.segment, first) if first is not None and first.kind is Kind.P else None,
        detect=detect,
        archive=archive,
        watched=watched,
    )
