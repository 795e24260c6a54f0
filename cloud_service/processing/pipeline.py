"""Takes every camera's persisted records through the engine, in order and each one once.

The store itself is the queue: records are read back from its files (from the page cache, as a rule), so a slow detector
neither blocks persistence nor makes memory grow, and a restart goes on at the cursors kept in the database. The
pipeline alone reads and writes the store; the engine gets messages and gives some back, wherever it runs.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, wait
from typing import NamedTuple

from sqlalchemy import Engine as Database

from cloud_service.archive.writer import ArchiveWriter
from cloud_service.events.feed import EventFeed
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.feedback.last_detections import LastDetections
from cloud_service.live.hub import LiveHub
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import Engine, Result, Work
from cloud_service.processing.lanes import RETRY_SECONDS, Lane, Lanes, work_of
from cloud_service.processing.outcomes import Finished, Outcomes
from cloud_service.store import Chunk, RecordStore
from icm.errors import CodecMismatchError, NotFoundError, RecordError, StorageError
from icm.service.clock import Clock
from icm.service.health import Problems

log = logging.getLogger(__name__)


class _UnderWay(NamedTuple):
    """Work that the engine has."""

    lane: Lane
    chunk: Chunk
    work: Work
    future: Future[Result]


class Pipeline:
    """The one thread that feeds the engine and takes what comes out: at most one piece of work of each lane at a time,
    so that a slow camera holds up no other.
    """

    def __init__(
        self,
        *,
        store: RecordStore,
        engine: Engine,
        database: Database,
        archive: ArchiveWriter,
        feed: EventFeed,
        problems: Problems,
        metrics: Metrics,
        clock: Clock,
        chains: BrokenReferences,
        detections: LastDetections,
        live: LiveHub,
    ) -> None:
        """Creates the pipeline; for the arguments see ``Outcomes``."""
        self._store, self._engine, self._live = store, engine, live
        self._woken, self._idle = threading.Event(), threading.Event()
        self._draining = threading.Event()
        self._stopping = threading.Event()
        self._lanes = Lanes(store=store, database=database, problems=problems, clock=clock)
        self._outcomes = Outcomes(
            lanes=self._lanes,
            model=engine.model,
            store=store,
            database=database,
            archive=archive,
            feed=feed,
            problems=problems,
            metrics=metrics,
            clock=clock,
            chains=chains,
            detections=detections,
            live=live,
            stopping=self._stopping,
        )
        self._under_way: list[_UnderWay] = []
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be more to read."""
        self._woken.set()

    def stop(self, drain_seconds: float) -> None:
        """Goes on until everything readable is done or the time is up, then ends the engine and what it renders."""
        self._draining.set()
        self._woken.set()
        self._thread.join(drain_seconds)
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        self._outcomes.end(self._engine.close())

    def backlog_bytes(self) -> dict[str, int]:
        """For each camera, the bytes of records that wait for the detector.

        Raises:
            StorageError: the database does not answer.
        """
        return self._lanes.backlog_bytes()

    @property
    def is_idle(self) -> bool:
        """Whether all that can be read now was taken through the engine."""
        return self._idle.is_set() and not self._woken.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._idle.clear()
            self._woken.clear()
            finished = self._finished()
            if finished:
                self._outcomes.take(finished)
            self._feed_engine()
            if self._woken.is_set():
                continue
            if self._draining.is_set() and not self._under_way:
                return
            if not self._under_way:
                self._idle.set()
            self._woken.wait(RETRY_SECONDS)
        # What was begun is worth its result; the rest is for the next start.
        for item in self._under_way:
            item.future.cancel()
        self._under_way = [item for item in self._under_way if not item.future.cancelled()]
        wait([item.future for item in self._under_way])
        self._outcomes.take(self._finished())

    def _feed_engine(self) -> None:
        """Gives the engine as many records as it likes to have, from as many lanes as there are."""
        left = self._engine.capacity - sum(len(item.work.records) for item in self._under_way)
        lanes = self._lanes.ready() if left > 0 else []
        for index, lane in enumerate(lanes):
            share = min(self._engine.batch, max(self._engine.together, -(-left // (len(lanes) - index))), left)
            chunk = self._read(lane, share) if share > 0 else None
            if chunk is not None:
                left -= len(chunk.records)
                work = work_of(
                    lane.id,
                    chunk,
                    self._store.keyframes,
                    detect=lane.detects,
                    archive=lane.renders,
                    watched=lane.detects and self._live.wants(lane.id.camera),
                )
                lane.busy = True
                future = self._engine.submit(work)
                self._under_way.append(_UnderWay(lane, chunk, work, future))
                future.add_done_callback(lambda _: self._woken.set())

    def _finished(self) -> list[Finished]:
        """Takes what the engine is done with from what is under way."""
        done: list[_UnderWay] = []
        waiting: list[_UnderWay] = []
        for item in self._under_way:
            (done if item.future.done() else waiting).append(item)
        self._under_way = waiting
        for item in done:
            item.lane.busy = False
        return [Finished(item.lane, item.chunk, item.work, item.future.result()) for item in done]

    def _read(self, lane: Lane, limit: int) -> Chunk | None:
        try:
            chunk = self._lanes.read(lane, limit)
            if chunk is not None:
                self._engine.check(chunk.header.codec_id, f"segment {chunk.segment.path}")
            return chunk
        except (CodecMismatchError, StorageError) as error:
            # Where its bundle lacks, a start that has it goes on here; what was skipped would stay so.
            self._lanes.delay(lane, lane.records, str(error))
        except (RecordError, NotFoundError) as error:
            self._outcomes.lose_segment(lane, error)
            self._woken.set()
        return None
