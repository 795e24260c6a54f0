"""Jobs of re-detection in the database: made from sealed segments, worked off once, ended once."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.redetection.jobs import Counts, Order, RedetectionJobs, State, Unit
from cloud_service.redetection.weights import Weights
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.store import Segment
from cloud_service.store.index import SegmentIndex
from cloud_service.store.index.segment_index import sound_segment
from icm.errors import ConfigError, DetectorError, NotFoundError
from icm.frame_id import FrameId
from tests.cloud_service.parts import EPOCH, FRAME_US, HEIGHT, START_US, WIDTH, header, open_store, raw, record

WEIGHTS = Weights("yolo", Path("/weights/best.pt"), "0123456789abcdef" * 4)
ALWAYS = (0, (1 << 63) - 1)
SIZE = PictureSize(WIDTH, HEIGHT)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def jobs(tmp_path: Path, database: Engine) -> RedetectionJobs:
    """Of a store with five segments of ten frames of each of two cameras."""
    store = open_store(tmp_path / "records", database)
    for camera in ("door", "gate"):
        of = header(camera)
        store.append(of, raw([record(n) for n in range(1, 51)], of))
    store.close()
    return RedetectionJobs(database)


def order(*cameras: str, start: int = ALWAYS[0], end: int = ALWAYS[1], every: int = 1) -> Order:
    return Order(cameras, start, end, WEIGHTS, every)


def event(sequence: int) -> FrameEvent:
    found = (Detection("dog", 0.5, 1.0, 2.0, 3.0, 4.0),)
    return FrameEvent(FrameId("gate", EPOCH, sequence), START_US + (sequence - 1) * FRAME_US, WEIGHTS.model, found)


def segment(database: Engine, number: int) -> Segment:
    return sound_segment(SegmentIndex(database).following("gate", number, 1)[0])


def test_a_job_covers_the_segments_of_the_range(jobs: RedetectionJobs) -> None:
    number, planned = jobs.add(order("gate", start=START_US + 1_500_000, end=START_US + 3_000_000), 7)
    assert (planned.segments, planned.frames) == (2, 20)
    assert jobs.units(number) == [Unit("gate", 2, 3)]
    (job, counts), *others = jobs.overview()
    assert not others
    assert (job.id, job.state, job.model, job.created_us) == (number, State.WAITING, "best@0123456789ab", 7)
    assert counts == Counts(segments=2)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (order("gate", "yard"), "there are no records of a camera 'yard'"),
        (order("gate", end=START_US), "no.* closed segment in that range"),
        (order("x" * 10_000), "there are no records of a camera 'x{80}'"),
        (order("'; DROP TABLE frames; --"), "there are no records"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_job(jobs: RedetectionJobs, wanted: Order, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        jobs.add(wanted, 0)
    assert jobs.overview() == []


def test_the_oldest_job_comes_first_until_it_is_at_its_end(jobs: RedetectionJobs) -> None:
    first, second = (jobs.add(order("gate"), 0)[0] for _ in range(2))
    for expected, end in ((first, State.DONE), (second, State.FAILED)):
        job = jobs.next()
        assert job is not None
        assert job.id == expected
        jobs.begin(job.id)
        assert jobs.end(job.id, end, "why")
        assert not jobs.end(job.id, State.DONE)
    assert jobs.next() is None
    assert [(job.state, job.problem) for job, _ in jobs.overview()] == [(State.FAILED, "why"), (State.DONE, "why")]


def test_a_segments_results_and_the_progress_are_kept_together(jobs: RedetectionJobs, database: Engine) -> None:
    number, _ = jobs.add(order("gate", "door"), 0)
    found = Counts(done=1, frames=2, looked_at=1, objects=2)
    assert jobs.keep(number, segment(database, 1), SIZE, [event(1), event(2)], found)
    assert jobs.units(number) == [Unit("door", 1, 5), Unit("gate", 2, 5)]
    assert jobs.overview()[0][1] == Counts(10, 1, 0, 2, 1, 0, 2)
    assert EventStore(database).get(event(2).key) == event(2)


def test_a_cancelled_job_keeps_what_it_has_and_gets_no_more(jobs: RedetectionJobs, database: Engine) -> None:
    number, _ = jobs.add(order("gate"), 0)
    assert jobs.keep(number, segment(database, 1), SIZE, [event(1)], Counts(done=1, frames=1))
    jobs.cancel(number)
    assert not jobs.is_open(number)
    assert not jobs.keep(number, segment(database, 2), SIZE, [event(11)], Counts(done=1, frames=1))
    assert EventStore(database).get(event(1).key) == event(1)
    assert EventStore(database).get(event(11).key) is None
    assert jobs.overview()[0][1].done == 1
    with pytest.raises(ConfigError, match="is cancelled already"):
        jobs.cancel(number)


@pytest.mark.parametrize("number", [0, -1, 99, (1 << 63) - 1])
def test_a_job_that_is_none_is_named(jobs: RedetectionJobs, number: int) -> None:
    with pytest.raises(NotFoundError, match=f"no re-detection {number};"):
        jobs.cancel(number)


def test_weights_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(b"one")
    one = Weights.of(path)
    one.check_unchanged()
    path.write_bytes(b"other")
    assert Weights.of(path).model != one.model
    assert one.model.startswith("best@")
    with pytest.raises(DetectorError, match="were replaced since"):
        one.check_unchanged()
    path.unlink()
    with pytest.raises(DetectorError, match="there are no weights"):
        one.check_unchanged()


def test_an_onnx_file_is_told_by_its_name_unless_said_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "yolox.onnx"
    path.write_bytes(b"")
    assert (Weights.of(path).kind, Weights.of(path, "yolo").kind) == ("onnx", "yolo")


def test_a_paused_job_lets_others_go_first_and_goes_on_where_it_stood(jobs: RedetectionJobs, database: Engine) -> None:
    first, _ = jobs.add(order("gate"), 1)
    second, _ = jobs.add(order("door"), 2)
    jobs.begin(first)
    assert jobs.keep(first, segment(database, 1), SIZE, [], Counts(done=1))
    jobs.pause(first)
    assert not jobs.is_open(first)
    assert not jobs.keep(first, segment(database, 2), SIZE, [], Counts(done=1)), "what was under way is not kept"
    job = jobs.next()
    assert job is not None
    assert job.id == second
    with pytest.raises(ConfigError, match=f"re-detection {first} is paused already"):
        jobs.pause(first)
    with pytest.raises(ConfigError, match=f"re-detection {second} is waiting already"):
        jobs.resume(second)
    jobs.resume(first)
    job = jobs.next()
    assert job is not None
    assert (job.id, job.state, jobs.units(first)) == (first, State.WAITING, [Unit("gate", 2, 5)])


def test_a_paused_job_is_cancelled_and_one_that_ended_is_neither_paused_nor_resumed(jobs: RedetectionJobs) -> None:
    number, _ = jobs.add(order("gate", "door"), 1)
    jobs.pause(number)
    jobs.cancel(number)
    ((job, _),) = jobs.overview()
    assert (job.state, job.cameras) == (State.CANCELLED, ("door", "gate"))
    for change in (jobs.pause, jobs.resume, jobs.cancel):
        with pytest.raises(ConfigError, match="is cancelled already"):
            change(number)
        with pytest.raises(NotFoundError, match="no re-detection 77"):
            change(77)
