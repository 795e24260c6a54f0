"""What other weights find in the past is searched like what was found live, whenever and however often it is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.database.sightings_tables import SightingRow
from cloud_service.database.statements import transaction
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent
from cloud_service.redetection.jobs import Counts, Order, RedetectionJobs, Unit
from cloud_service.redetection.weights import Weights
from cloud_service.sightings.background import BackgroundFolding
from cloud_service.sightings.deletion import delete_events
from cloud_service.sightings.relative_boxes import PictureSize
from cloud_service.sightings.search import SightingQuery, search_sightings
from cloud_service.sightings.timeline import read_activity
from cloud_service.store import Position, Segment
from cloud_service.store.index.segment_index import forget
from icm.frame_id import FrameId
from icm.service.health import Problems
from tests.cloud_service.parts import EPOCH, FRAME_US, HEIGHT, START_US, WIDTH, header, open_store, raw, record
from tests.cloud_service.sightings.scenes import everything, rows

WEIGHTS = Weights("yolo", Path("/weights/best.pt"), "0123456789abcdef" * 4)
ALWAYS = (0, (1 << 63) - 1)
SIZE = PictureSize(WIDTH, HEIGHT)
SEGMENTS, FRAMES = 5, 10


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


class Past:
    """Five segments of ten frames. Somebody walks through all of them, whom each of two models takes for something."""

    def __init__(self, folder: Path, database: Engine) -> None:
        self.database, self.jobs, self.events = database, RedetectionJobs(database), EventStore(database)
        store, of = open_store(folder / "records", database), header()
        store.append(of, raw([record(n) for n in range(1, SEGMENTS * FRAMES + 1)], of))
        store.close()
        self.store = open_store(folder / "records", database)
        self.folding = BackgroundFolding(store=self.store, database=database, problems=Problems())

    def segment(self, number: int) -> Segment:
        found = self.store.segment("gate", number)
        assert found is not None
        return found

    def found(self, number: int, name: str, model: str) -> list[FrameEvent]:
        """In each frame of a segment but each fifth."""
        return [
            FrameEvent(
                FrameId("gate", EPOCH, sequence),
                START_US + (sequence - 1) * FRAME_US,
                model,
                (Detection(name, 0.5, sequence % 20, 2, sequence % 20 + 30, 40),) if sequence % 5 else (),
            )
            for sequence in range((number - 1) * FRAMES + 1, number * FRAMES + 1)
        ]

    def look_live(self) -> None:
        """The live detector goes through everything, and that is folded."""
        for number in range(1, SEGMENTS + 1):
            self.events.commit(self.found(number, "dog", "live"), (), {"gate": Position(number + 1, 0)})
        while self.folding.fold_round():
            pass

    def look_again(self, numbers: Sequence[int] = range(1, SEGMENTS + 1), job: int = 0) -> int:
        """What a job keeps of segments; its number."""
        job = job or self.jobs.add(Order(("gate",), *ALWAYS, WEIGHTS), 0)[0]
        for number in numbers:
            events = self.found(number, "cat", WEIGHTS.model)
            assert self.jobs.keep(job, self.segment(number), SIZE, events, Counts(done=1, frames=len(events)))
        return job

    def sightings(self, model: str = "", name: str = "") -> list[tuple[str, str, int, int]]:
        """Model, class, first and last segment of what a search finds."""
        query = SightingQuery(cameras=("gate",), classes=(name,) if name else (), model=model)
        with self.database.connect() as connection:
            found = search_sightings(connection, query, 100, None).rows
        return sorted((row.model, row.class_name, row.first_segment, row.last_segment) for row in found)

    def activity(self) -> dict[tuple[str, str], int]:
        """Frames of a day by model and class."""
        with self.database.connect() as connection:
            buckets, _ = read_activity(connection, "gate", "", 86_400, START_US - 86_400_000_000, START_US + 1)
        return {(row.model, row.class_name): row.frames for bucket in buckets for row in bucket.classes}


@pytest.fixture
def past(tmp_path: Path, database: Engine) -> Past:
    return Past(tmp_path, database)


def test_what_is_found_again_is_searched_beside_what_was_found_live(past: Past) -> None:
    past.look_live()
    live = past.sightings()
    assert live == [("live", "dog", 1, SEGMENTS)]
    past.look_again()
    assert past.sightings() == [(WEIGHTS.model, "cat", 1, SEGMENTS), *live]
    assert past.sightings(model="live") == live
    assert past.sightings(name="cat", model="live") == []
    assert past.activity() == {("live", "dog"): 40, (WEIGHTS.model, "cat"): 40}
    assert len([e for e in past.events.search("gate", limit=1000) if e.model == WEIGHTS.model]) == SEGMENTS * FRAMES


def test_a_segment_that_is_looked_at_twice_counts_once(past: Past) -> None:
    past.look_live()
    past.look_again()
    once = everything(past.database)
    past.look_again()
    assert everything(past.database) == once


def test_what_is_found_before_the_live_events_are_folded_is_folded_with_them(past: Past) -> None:
    past.look_again([1, 2])
    assert past.sightings() == []
    past.look_live()
    past.look_again([3, 4, 5])
    assert past.sightings() == [(WEIGHTS.model, "cat", 1, SEGMENTS), ("live", "dog", 1, SEGMENTS)]
    assert past.activity() == {("live", "dog"): 40, (WEIGHTS.model, "cat"): 40}


@pytest.mark.parametrize("folded", [True, False])
def test_nothing_is_kept_of_a_segment_that_was_deleted_meanwhile_and_it_counts_as_lost(
    past: Past, folded: bool
) -> None:
    if folded:
        past.look_live()
    job = past.look_again([1])
    gone = past.segment(2)
    with transaction(past.database) as connection:
        forget(connection, "gate", [2])
        delete_events(connection, gone)
    before = everything(past.database)
    counts = Counts(done=1, frames=FRAMES, looked_at=FRAMES)
    assert past.jobs.keep(job, gone, SIZE, past.found(2, "cat", WEIGHTS.model), counts)
    assert everything(past.database) == before
    assert past.jobs.units(job) == [Unit("gate", 3, SEGMENTS)]
    assert past.jobs.overview()[0][1] == Counts(SEGMENTS, 2, 1, FRAMES)


def test_events_of_pictures_whose_size_is_not_known_are_folded_too(past: Past) -> None:
    past.look_live()
    job = past.look_again([1])
    assert past.jobs.keep(job, past.segment(2), None, past.found(2, "cat", WEIGHTS.model), Counts(done=1, lost=1))
    assert rows(past.database, SightingRow, "model", "last_segment") == [(WEIGHTS.model, 2), ("live", SEGMENTS)]
