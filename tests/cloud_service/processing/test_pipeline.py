"""The pipeline: every persisted record is decoded, looked at once and rendered once, also across restarts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine as Database
from sqlalchemy import text

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.archive.storage import ArchiveStorage
from cloud_service.archive.writer import ArchiveWriter
from cloud_service.bundles import Bundles
from cloud_service.detection import Detection
from cloud_service.events.feed import EventFeed
from cloud_service.events.store import EventStore, FrameSkipped
from cloud_service.feedback.arrivals import Arrivals
from cloud_service.feedback.broken_references import BrokenReferences
from cloud_service.feedback.last_detections import LastDetections
from cloud_service.feedback.leases import Leases
from cloud_service.feedback.segment_leases import SegmentLeases
from cloud_service.inspection.stored_frames import StoredFrames
from cloud_service.live.hub import LiveHub
from cloud_service.live.stills import Stills
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import Engine
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from cloud_service.processing.lanes import RETRY_SECONDS
from cloud_service.processing.pipeline import Pipeline
from cloud_service.store import RecordStore
from icm.codec.bitstream.record import Record
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from icm.frame_id import FrameId
from icm.service.clock import ManualClock
from icm.service.health import HealthPart, Problems
from tests.cloud_service.parts import (
    EPOCH,
    BrightnessDetector,
    coded_header,
    coded_records,
    header,
    open_store,
    raw,
)

PATIENCE_SECONDS = 60.0


class WatchedProblems(Problems):
    """Tells when there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.reported = threading.Event()

    def report(self, part: HealthPart, text: str) -> bool:
        news = super().report(part, text)
        self.reported.set()
        return news


class Reader:
    """A cloud without its ingest: what is appended to its store goes the way of every record."""

    def __init__(self, folder: Path, database: Database, bundle: Bundle, coded: list[CodedFrame]) -> None:
        self.folder, self.database, self.bundle, self.coded = folder, database, bundle, coded
        self.bundles = [bundle]
        self.detector, self.clock = BrightnessDetector(), ManualClock()
        self.events, self.catalogue = EventStore(database), VideoCatalogue(database)
        self.start()

    def start(self) -> None:
        """A new process, as far as the disk can tell."""
        self.problems, self.metrics, self.chains = WatchedProblems(), Metrics("test"), BrokenReferences()
        self.newest = LastDetections()
        self.store: RecordStore = open_store(self.folder / "records", self.database)
        leases = SegmentLeases(Leases(self.clock), self.store)
        frames = StoredFrames(self.store, Bundles(self.bundles), leases)
        self.pipeline = Pipeline(
            store=self.store,
            engine=self.engine(),
            database=self.database,
            archive=ArchiveWriter(ArchiveStorage(str(self.folder / "archive"))),
            feed=EventFeed(),
            problems=self.problems,
            metrics=self.metrics,
            clock=self.clock,
            chains=self.chains,
            detections=self.newest,
            live=LiveHub(
                store=self.store,
                stills=Stills(frames.picture, self.events),
                arrivals=Arrivals(self.clock),
                clock=self.clock,
                model="brightness",
            ),
        )

    def engine(self) -> Engine:
        return InProcessEngine(
            decoder=BatchDecoder(Bundles(self.bundles)),
            detector=self.detector,
            renderer=SegmentRenderer(32),
            stage_seconds=self.metrics.stage_seconds,
        )

    def append(self, records: list[Record], camera: str = "gate") -> None:
        of = coded_header(self.bundle, camera)
        self.store.append(of, raw(records, of))

    def records(self, count: int, first: int = 1) -> list[Record]:
        return coded_records(self.coded, count, first)

    def work_off(self) -> None:
        """Runs until nothing is left to do, as a SIGTERM with patience does."""
        self.pipeline.start()
        self.pipeline.stop(PATIENCE_SECONDS)

    def seen(self, camera: str = "gate") -> list[int]:
        return sorted(event.key.sequence for event in self.events.search(camera, limit=1000))

    def skipped(self, sequence: int, camera: str = "gate") -> str:
        """Why a frame was."""
        known = self.events.get(FrameId(camera, EPOCH, sequence))
        assert isinstance(known, FrameSkipped)
        return known.why

    def rendered(self, camera: str = "gate") -> list[int]:
        """Frames of each video."""
        return [video.frames for video in self.catalogue.list(camera, None, None)]

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def reader(tmp_path: Path, database: Database, loaded: Bundle, coded: list[CodedFrame]) -> Reader:
    return Reader(tmp_path, database, loaded, coded)


def test_every_record_is_detected_and_rendered(reader: Reader) -> None:
    reader.append(reader.records(25))
    reader.store.close()
    reader.work_off()
    assert reader.seen() == list(range(1, 26))
    assert reader.rendered() == [10, 10, 5]
    assert reader.value("icm_cloud_capture_to_detected_seconds_count", camera="gate") == 25
    assert reader.pipeline.backlog_bytes() == {"gate": 0}


def test_detections_belong_to_the_frame_they_were_seen_in(reader: Reader) -> None:
    reader.append(reader.records(4))
    reader.work_off()
    found = {event.key.sequence: event.detections[0].class_name for event in reader.events.search()}
    # Odd sequences carry the dark picture: they index the two coded frames.
    assert found == {1: "dark", 2: "bright", 3: "dark", 4: "bright"}


def test_several_cameras_share_the_engine_and_none_is_mixed_up(reader: Reader) -> None:
    for camera, count in (("gate", 7), ("lobby", 3), ("yard", 12)):
        reader.append(reader.records(count), camera)
    reader.work_off()
    assert [len(reader.seen(camera)) for camera in ("gate", "lobby", "yard")] == [7, 3, 12]
    assert [reader.rendered(camera) for camera in ("gate", "lobby", "yard")] == [[7], [3], [10, 2]]


def test_a_restart_in_the_middle_of_a_segment_repeats_no_detection_and_makes_the_video_whole(reader: Reader) -> None:
    reader.append(reader.records(14))
    reader.work_off()
    assert reader.rendered() == [10, 4]  # the second video is a part, its segment was still open
    seen_before = reader.detector.seen
    reader.append(reader.records(3, first=15))
    reader.store.close()

    reader.start()
    reader.work_off()
    assert reader.seen() == list(range(1, 18))
    assert reader.detector.seen - seen_before == 3
    assert reader.rendered() == [10, 7]


def test_a_detector_that_fails_costs_detections_but_neither_records_nor_videos(reader: Reader) -> None:
    reader.detector.failing = True
    reader.append(reader.records(3))
    reader.store.close()
    reader.work_off()
    assert reader.seen() == []
    assert reader.rendered() == [3]
    assert reader.value("icm_cloud_detector_failures_total", camera="gate") == 3
    assert any("told to fail" in line for line in reader.problems.lines())
    assert "told to fail" in reader.skipped(2)


def test_a_detector_that_works_again_is_no_problem_any_more(reader: Reader) -> None:
    reader.problems.part("detector").report("it failed")
    reader.append(reader.records(1))
    reader.work_off()
    assert reader.problems.lines() == []


def test_a_record_that_decodes_to_other_latents_is_counted_and_skipped(reader: Reader) -> None:
    first, second, third = reader.records(3)
    reader.append([first, replace(second, digest=second.digest ^ 1), third])
    reader.work_off()
    assert reader.seen() == [1, 3]
    assert reader.rendered() == [2]
    assert reader.value("icm_cloud_records_total", camera="gate", outcome="skipped") == 1
    assert "digest" in reader.skipped(2)


def test_many_records_that_cannot_be_decoded_fill_no_log(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    reader.append([replace(item, digest=item.digest ^ 1) for item in reader.records(8)])
    reader.work_off()
    assert reader.value("icm_cloud_records_total", camera="gate", outcome="skipped") == 8
    told = [message for message in caplog.messages if "skipping" in message]
    assert [message.split(": ")[1] for message in told] == ["skipping record 1", "skipping record 8"]
    assert "6 more like it" in told[1]


def test_records_of_another_codec_wait_for_a_start_with_its_bundle(reader: Reader, other_bundle: Bundle) -> None:
    of = header(codec_id=other_bundle.codec_id)
    reader.store.append(of, raw(reader.records(12), of))
    reader.append(reader.records(1, first=13))
    reader.work_off()
    assert reader.seen() == []
    assert "add the bundle of that codec to the cloud's `bundles`" in reader.problems.lines()[0]
    reader.store.close()
    reader.bundles = [other_bundle, reader.bundle]
    reader.start()
    reader.work_off()
    assert reader.seen() == list(range(1, 14))
    assert reader.rendered() == [10, 2, 1]
    assert reader.problems.lines() == []


def test_a_segment_whose_file_is_gone_is_skipped(reader: Reader) -> None:
    reader.append(reader.records(12))
    next((reader.folder / "records").rglob("*-000001.icm")).unlink()
    reader.work_off()
    assert reader.seen() == [11, 12]
    assert all("is gone" in reader.skipped(sequence) for sequence in range(1, 11))


def test_frames_behind_damage_are_known_to_be_skipped(reader: Reader) -> None:
    records = reader.records(12)
    reader.append(records)
    path = next((reader.folder / "records").rglob("*-000001.icm"))
    data = bytearray(path.read_bytes())
    data[data.index(records[5].payload)] ^= 1
    path.write_bytes(data)
    reader.work_off()
    seen = reader.seen()
    assert 1 in seen
    assert 11 in seen
    assert all("damaged" in reader.skipped(sequence) for sequence in range(1, 13) if sequence not in seen)


def test_a_restart_gets_over_the_loss_of_the_segment_it_was_in(reader: Reader) -> None:
    reader.append(reader.records(14))
    reader.work_off()
    reader.store.close()
    next((reader.folder / "records").rglob("*-000002.icm")).unlink()
    reader.start()
    reader.append(reader.records(3, first=15))
    reader.work_off()
    assert reader.seen() == list(range(1, 18))


def test_an_archive_that_cannot_be_written_catches_up_once_it_can(reader: Reader) -> None:
    obstacle = reader.folder / "archive"
    obstacle.write_text("in the way")
    reader.append(reader.records(25))
    reader.store.close()
    reader.pipeline.start()
    assert reader.problems.reported.wait(PATIENCE_SECONDS)
    assert str(obstacle) in reader.problems.lines()[0]
    obstacle.unlink()
    reader.clock.advance(RETRY_SECONDS)
    reader.pipeline.wake()
    reader.pipeline.stop(PATIENCE_SECONDS)
    assert reader.seen() == list(range(1, 26))
    assert reader.rendered() == [10, 10, 5]
    assert reader.value("icm_archive_failures_total", camera="gate") >= 1
    assert reader.problems.lines() == []


def test_an_archive_that_catches_up_while_more_records_come_leaves_no_frame_out(reader: Reader) -> None:
    obstacle = reader.folder / "archive"
    obstacle.write_text("in the way")
    reader.append(reader.records(15))
    reader.pipeline.start()
    assert reader.problems.reported.wait(PATIENCE_SECONDS)
    obstacle.unlink()
    for sequence in range(16, 76):
        reader.append(reader.records(1, first=sequence))
        reader.clock.advance(RETRY_SECONDS)
        reader.pipeline.wake()
    reader.store.close()
    reader.clock.advance(RETRY_SECONDS)
    reader.pipeline.stop(PATIENCE_SECONDS)
    assert reader.seen() == list(range(1, 76))
    assert reader.rendered() == 7 * [10] + [5]


@pytest.mark.parametrize("seen", [0, 14])
def test_while_the_index_does_not_answer_the_detector_waits_and_skips_nothing(reader: Reader, seen: int) -> None:
    if seen:
        reader.append(reader.records(seen))
        reader.work_off()
    reader.append(reader.records(25 - seen, first=seen + 1))
    reader.store.close()
    reader.start()
    with reader.database.begin() as connection:
        connection.execute(text("ALTER TABLE record_segments RENAME TO hidden"))
    reader.pipeline.start()
    assert reader.problems.reported.wait(PATIENCE_SECONDS)
    assert "index of segments" in reader.problems.lines()[0]
    with reader.database.begin() as connection:
        connection.execute(text("ALTER TABLE hidden RENAME TO record_segments"))
    reader.clock.advance(RETRY_SECONDS)
    reader.pipeline.wake()
    reader.pipeline.stop(PATIENCE_SECONDS)
    assert reader.seen() == list(range(1, 26))
    assert sum(reader.rendered()) == 25
    assert reader.value("icm_cloud_records_total", camera="gate", outcome="skipped") == 0
    assert reader.problems.lines() == []


def test_a_stop_without_patience_leaves_the_rest_to_the_next_start(reader: Reader) -> None:
    reader.append(reader.records(25))
    reader.store.close()
    reader.pipeline.start()
    reader.pipeline.stop(0)
    reader.start()
    reader.work_off()
    assert reader.seen() == list(range(1, 26))
    assert reader.rendered() == [10, 10, 5]
    assert reader.events.get(reader.events.search(limit=1)[0].key) is not None
    assert reader.events.search(limit=1)[0].key.epoch == EPOCH


def test_a_pipeline_is_idle_once_all_that_is_stored_was_taken_through_the_engine(reader: Reader) -> None:
    idle: list[bool] = []

    class Watching(BrightnessDetector):
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
            idle.append(reader.pipeline.is_idle)
            return super().detect(images)

    reader.detector = Watching()
    reader.start()
    reader.append(reader.records(20))
    assert not reader.pipeline.is_idle
    reader.pipeline.start()
    pause = threading.Event()
    while not reader.pipeline.is_idle:
        pause.wait(0.01)
    assert reader.detector.seen == 20
    assert not any(idle)
    reader.pipeline.stop(PATIENCE_SECONDS)
