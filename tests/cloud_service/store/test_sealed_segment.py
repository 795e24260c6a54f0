"""What a sealed segment says of itself: its age, its digest, and its place on the disk, the same after any restart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cloud_service.store import RecordStore, Segment
from cloud_service.store.segment import LATEST_ARRIVAL_US
from icm.service.clock import ManualClock
from tests.cloud_service.parts import START_US, header, open_store, raw, record
from tests.cloud_service.store.test_store import append, files

HOUR_US = 3600 * 1_000_000


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def sealed(store: RecordStore) -> Segment:
    segment = store.segment("gate", 1)
    assert segment is not None
    assert segment.sealed
    return segment


def stored(root: Path, database: Engine, capture_us: int, now_us: int) -> Segment:
    """The only segment of a store, of one record captured then, sealed now."""
    store = open_store(root, database, clock=ManualClock(now_us))
    of = header()
    store.append(of, raw([record(1, capture_us=capture_us)], of))
    store.close()
    return sealed(store)


def test_a_segment_ages_from_its_last_capture(tmp_path: Path, database: Engine) -> None:
    assert stored(tmp_path, database, START_US, START_US + HOUR_US).kept_from_us == START_US


def test_a_capture_time_of_the_future_counts_as_just_arrived(tmp_path: Path, database: Engine) -> None:
    assert stored(tmp_path, database, START_US + HOUR_US, START_US).kept_from_us == START_US


def test_a_camera_whose_clock_is_years_behind_is_as_old_as_a_full_spool_at_most(
    tmp_path: Path, database: Engine
) -> None:
    now_us = START_US + 50 * 365 * 24 * HOUR_US
    assert stored(tmp_path, database, START_US, now_us).kept_from_us == now_us - LATEST_ARRIVAL_US


def test_digest_and_place_are_those_of_the_file(tmp_path: Path, database: Engine) -> None:
    segment = stored(tmp_path, database, START_US, START_US)
    path = tmp_path / segment.path
    assert segment.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert segment.disk_bytes == path.stat().st_blocks * 512 > 0


@pytest.mark.parametrize("indexed", [True, False], ids=["from the index", "from the file alone"])
def test_a_restart_says_the_same(tmp_path: Path, database: Engine, indexed: bool) -> None:
    before = stored(tmp_path, database, START_US, START_US)
    os.utime(tmp_path / before.path, ns=(START_US * 1000, START_US * 1000))
    if not indexed:
        with database.begin() as connection:
            connection.execute(text("DELETE FROM record_segments"))
    after = sealed(open_store(tmp_path, database, clock=ManualClock(START_US + HOUR_US)))
    assert (after.kept_from_us, after.disk_bytes, after.sha256) == (
        before.kept_from_us,
        before.disk_bytes,
        before.sha256,
    )


def test_a_torn_tail_counts_for_nothing(tmp_path: Path, database: Engine) -> None:
    store = open_store(tmp_path, database)
    append(store, 1, 2)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b"torn")
    assert sealed(open_store(tmp_path, database)).sha256 == hashlib.sha256(whole).digest()
