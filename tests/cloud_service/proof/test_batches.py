"""Tombstones come into the chain an hour at a time, and what a day of them takes stays small."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.database.statements import transaction
from cloud_service.proof import keeper as keeping
from cloud_service.proof.tombstones import write_tombstones
from cloud_service.store import Segment
from cloud_service.store.sequences import SequenceSet
from icm.service.clock import ManualClock
from tests.cloud_service.parts import START_US
from tests.cloud_service.proof.kept import Kept, entries, links, told, tombstones
from tests.cloud_service.proof.test_keeper import HOUR, delete, deletion

DAY_MINUTES = 1440


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def test_a_deletion_is_in_the_chain_with_the_hour_or_at_once_when_that_is_asked(
    tmp_path: Path, database: Engine
) -> None:
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.append(1, 25)
    kept.store.close()
    kept.keeper.deleted([deletion(kept.segments()[0])])
    kept.keeper.work()
    assert entries(tmp_path) == []
    kept.keeper.settle("gate")
    found = entries(tmp_path)
    assert told(found) == [(1, "sealed"), (2, "sealed"), (3, "sealed"), (1, "max_age")]
    (stone,) = tombstones(found)
    assert (stone.facts, stone.by, stone.rule, stone.at_us) == (
        found[0].facts,
        "retention",
        "older than 30 days",
        START_US + 5,
    )
    kept.keeper.deleted([deletion(each, "max_bytes") for each in kept.segments()[:2]])
    kept.clock.advance(HOUR)
    kept.keeper.work()
    assert told(entries(tmp_path))[4:] == [(2, "max_bytes")]


def test_deletions_of_an_hour_are_one_block_of_a_camera_until_it_is_full(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_LEAVES", 4)
    kept = Kept(tmp_path, database)
    kept.append(1, 70)
    kept.close()
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    for segment in kept.segments():
        kept.keeper.deleted([deletion(segment)])
        kept.clock.advance(60)
    kept.clock.advance(HOUR)
    kept.keeper.work()
    found = [told(link.entries) for link in links(tmp_path)[2:]]
    assert found == [[(number, "max_age") for number in block] for block in ((1, 2, 3, 4), (5, 6, 7))]


def test_a_deletion_whose_block_a_crash_prevented_is_told_from_the_database(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 25)
    kept.close()
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    delete(kept, 2)
    kept.crash()
    assert told(entries(tmp_path)) == [(1, "sealed"), (2, "sealed"), (3, "sealed")]
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    assert told(entries(tmp_path))[3:] == [(2, "max_age")]


def test_a_segment_that_goes_before_it_has_a_leaf_gets_one_first(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 15)
    kept.crash()
    gone = kept.segments()[0]
    kept = Kept(tmp_path, database)
    kept.keeper.deleted([deletion(gone)])
    kept.keeper.settle("gate")
    assert told(entries(tmp_path)) == [(1, "found"), (1, "max_age")]


def made(number: int, at_us: int) -> Segment:
    """A segment of a hundred records that is sealed now."""
    return Segment(
        camera="gate",
        number=number,
        epoch=7,
        path="",
        size=31_000,
        records=100,
        first_capture_us=at_us - 10_000_000,
        last_capture_us=at_us,
        sequences=SequenceSet([(100 * number, 100 * number + 99)]),
        sealed=True,
        kept_from_us=at_us,
        sha256=hashlib.sha256(b"%d" % number).digest(),
    )


def simulate(kept: Kept, days: int, a_minute: int) -> list[tuple[int, int]]:
    """Days of a camera whose segments are deleted when they are a day old, with a pass a minute.

    Returns:
        After each day: how many blocks there are, and bytes of the chain.
    """
    kept.keeper.work()
    there: list[Segment] = []
    after = []
    for minute in range(days * DAY_MINUTES):
        kept.clock.advance(60)
        now_us = kept.clock.now_us()
        for number in range(1 + minute * a_minute, 1 + (minute + 1) * a_minute):
            there.append(made(number, now_us))
            kept.keeper.sealed(there[-1])
        if len(there) > DAY_MINUTES * a_minute:
            gone = [deletion(each) for each in there[:a_minute]]
            del there[:a_minute]
            with transaction(kept.database) as connection:
                write_tombstones(connection, gone)
            kept.keeper.deleted([replace(each, at_us=now_us) for each in gone])
        kept.keeper.work()
        if (minute + 1) % DAY_MINUTES == 0:
            size = (kept.folder / "proof/gate.chain").stat().st_size
            after.append((links(kept.folder)[-1].block.number, size))
    return after


def test_a_day_adds_two_blocks_an_hour_and_what_is_gone_leaves_little(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database, ManualClock(START_US))
    first, *_, before, last = simulate(kept, 4, 1)
    # And one for each time that entries were dropped.
    assert last[0] - before[0] <= 2 * 24 + 3
    # Leaves of a day that are there, and leaves and tombstones of those that went in the last days; of all others block
    # lines and heads alone.
    assert last[1] < 6 * first[1]
