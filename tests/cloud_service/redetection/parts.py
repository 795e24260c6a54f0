"""A store with records of two cameras, and weights of a detector that finds a cat in every bright frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from cloud_service.bundles import Bundles
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.feedback.leases import Leases
from cloud_service.feedback.segment_leases import SegmentLeases
from cloud_service.redetection.jobs import Counts, Job, Order, RedetectionJobs
from cloud_service.redetection.weights import Weights
from cloud_service.redetection.worker import Redetection
from cloud_service.settings import CloudSettings
from cloud_service.store import RecordStore
from icm.codec.bitstream.record import Record
from icm.codec.bundle.loading import Bundle
from icm.config.settings import load_settings
from icm.frame_id import FrameId
from icm.service.clock import SystemClock
from icm.service.health import Problems
from tests.cloud_service.detection.test_onnx import answer, network
from tests.cloud_service.parts import EPOCH, FRAME_US, START_US, coded_header, open_store, raw

ALWAYS = (0, (1 << 63) - 1)


def weights_in(folder: Path, name: str = "cat.onnx", found: str = "cat") -> Path:
    """A model that finds one object in bright frames and none in dark ones."""
    return network(folder / name, answer(0, 0.5, 0.5, 1, 1, found), scale_by_blue=True)


class Archive:
    """A store on a disk, its database, and what detects its past anew."""

    def __init__(self, folder: Path, database: Engine, bundle: Bundle) -> None:
        self.folder, self.database, self.bundle = folder, database, bundle
        self.store: RecordStore = open_store(folder / "records", database)
        self.jobs, self.events, self.problems = RedetectionJobs(database), EventStore(database), Problems()
        self.weights = weights_in(folder)

    def append(self, records: list[Record], camera: str = "gate") -> None:
        """Records of a camera, in closed segments that the database knows."""
        of = coded_header(self.bundle, camera)
        self.store.append(of, raw(records, of))
        self.store.close()
        self.store = open_store(self.folder / "records", self.database)

    def order(
        self,
        *cameras: str,
        span: tuple[int, int] = ALWAYS,
        every: int = 1,
        changed: bool = False,
    ) -> int:
        """Makes a job; its number."""
        order = Order(cameras, *span, Weights.of(self.weights), every, changed)
        return self.jobs.add(order, START_US)[0]

    def worker(self, is_idle: Callable[[], bool] = lambda: True) -> Redetection:
        flags = {"bundle": str(self.bundle.folder), "store.folder": str(self.folder), "detector.kind": "none"}
        return Redetection(
            jobs=self.jobs,
            store=self.store,
            bundles=Bundles([self.bundle]),
            settings=load_settings(CloudSettings, None, {**flags, "threads": 1}),
            leases=SegmentLeases(Leases(SystemClock()), self.store),
            is_idle=is_idle,
            problems=self.problems,
        )

    def status(self, job: int) -> tuple[Job, Counts]:
        return next(found for found in self.jobs.overview() if found[0].id == job)

    def seen(self, camera: str = "gate") -> dict[int, str]:
        """Of each frame that the weights looked at, what they found in it."""
        model = Weights.of(self.weights).model
        events = [event for event in self.events.search(camera, limit=1000) if event.model == model]
        return {
            event.key.sequence: ",".join(d.class_name for d in event.detections)
            for event in sorted(events, key=lambda event: event.key.sequence)
        }

    def live_event(self, sequence: int) -> FrameEvent:
        """What a detector found when the frame came."""
        found = (Detection("dog", 0.5, 1.0, 2.0, 3.0, 4.0),)
        return FrameEvent(FrameId("gate", EPOCH, sequence), START_US + (sequence - 1) * FRAME_US, "live", found)
