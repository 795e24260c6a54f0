"""A damaged spool file: what of it is saved, and that the rest is told."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from edge_service.spool.folder import FILE_NAME
from edge_service.spool.repair import SKIPPED_SEQUENCES, repair
from edge_service.spool.store import Spool
from icm.service.clock import ManualClock
from tests.edge_service.parts import spool_records

RECORDS = 200
PAGE = 4096


@contextmanager
def opened(folder: Path, clock: ManualClock, lost: list[tuple[str, str, int]]) -> Iterator[Spool]:
    spool = Spool(folder, 1 << 30, 3600.0, clock, on_drop=lambda *drop: lost.append(drop))
    try:
        yield spool
    finally:
        spool.close()


@pytest.fixture
def lost() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a spool with 200 records of a kilobyte, closed in good order."""
    folder = tmp_path_factory.mktemp("filled")
    with opened(folder, ManualClock(), []) as spool:
        spool_records(spool.camera("gate"), RECORDS, size=1000)
    return folder


@pytest.fixture
def file(filled: Path, tmp_path: Path) -> Path:
    """A copy of that spool's file."""
    return Path(shutil.copy(filled / FILE_NAME, tmp_path / FILE_NAME))


def kept(spool: Spool) -> list[int]:
    found: list[int] = []
    while batch := spool.camera("gate").read(found[-1] if found else 0, 100, 1 << 30):
        found += [sequence for sequence, _ in batch.records]
    return found


def damage(file: Path, page: int) -> None:
    with file.open("r+b") as handle:
        handle.seek(page * PAGE)
        handle.write(random.Random(page).randbytes(PAGE))


def test_a_sound_file_is_left_alone(file: Path, clock: ManualClock, lost: list[tuple[str, str, int]]) -> None:
    with opened(file.parent, clock, lost) as spool:
        assert len(kept(spool)) == RECORDS
        assert spool.camera("gate").next_sequence == RECORDS + 1
    assert not lost
    assert not list(file.parent.glob("*.damaged"))


def test_what_lies_around_the_damage_is_saved_and_the_rest_is_counted_and_logged(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file.parent, clock, lost) as spool:
        epoch = spool.camera("gate").epoch
    damage(file, page=30)
    with caplog.at_level(logging.ERROR), opened(file.parent, clock, lost) as spool:
        found = kept(spool)
        assert found == sorted(set(found))
        assert RECORDS * 3 // 4 < len(found) < RECORDS
        assert lost == [("gate", "spool_damaged", RECORDS - len(found))]
        assert f"{len(found)} records were saved, {RECORDS - len(found)} of gate lost" in caplog.text
        assert spool.camera("gate").epoch == epoch
        spool_records(spool.camera("gate"), 1)
        assert kept(spool) == [*found, RECORDS + 1 + SKIPPED_SEQUENCES]
    assert (file.parent / f"{FILE_NAME}.damaged").exists()


@pytest.mark.parametrize("length", [0.5, 0.9])
def test_a_file_that_was_cut_off_gives_what_is_left_and_takes_new_records(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]], length: float
) -> None:
    with file.open("r+b") as handle:
        handle.truncate(int(file.stat().st_size * length) // PAGE * PAGE)
    with opened(file.parent, clock, lost) as spool:
        found = kept(spool)
        assert sum(count for _, _, count in lost) == RECORDS - len(found)
        spool_records(spool.camera("gate"), 3)
        assert len(kept(spool)) == len(found) + 3


def test_a_file_that_is_no_database_is_set_aside(
    tmp_path: Path, clock: ManualClock, lost: list[tuple[str, str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    content = b"this is no database at all" * 100
    (tmp_path / FILE_NAME).write_bytes(content)
    with opened(tmp_path, clock, lost) as spool:
        spool_records(spool.camera("gate"), 1)
        assert len(kept(spool)) == 1
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes() == content
    assert "an unknown number lost" in caplog.text


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_damaged_the_edge_starts_and_gives_no_sequence_twice(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]], seed: int
) -> None:
    with opened(file.parent, clock, lost) as spool:
        epoch = spool.camera("gate").epoch
    clock.advance(1)
    damage(file, page=random.Random(seed).randrange(file.stat().st_size // PAGE))
    with opened(file.parent, clock, lost) as spool:
        gate = spool.camera("gate")
        assert gate.epoch != epoch or gate.next_sequence > RECORDS
        assert set(kept(spool)) <= set(range(1, RECORDS + 1))
        assert gate.empty() == (spool.bytes == 0)


@pytest.mark.parametrize("steps", range(6))
def test_a_repair_that_is_cut_short_is_finished_by_the_next_start(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    damage(file, 20)
    replace, renamed = os.replace, 0

    def cut_short(old: str | Path, new: str | Path) -> None:
        nonlocal renamed
        if renamed == steps:
            raise KeyboardInterrupt
        renamed += 1
        replace(old, new)

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(os, "replace", cut_short)
        repair(file)
    with opened(file.parent, clock, lost) as spool:
        assert len(kept(spool)) > RECORDS - 20
        assert spool.camera("gate").next_sequence > SKIPPED_SEQUENCES
    assert not [*file.parent.glob("*.rescued"), *file.parent.glob("*.repaired")]


@pytest.mark.parametrize("content", [b"", b"ICMB and no more"])
def test_records_under_a_header_that_is_none_are_counted_as_lost_and_the_others_go_on(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]], content: bytes
) -> None:
    with opened(file.parent, clock, lost) as spool:
        spool_records(spool.camera("gate"), 3)
        spool_records(spool.camera("gate"), 2, width=128)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE header SET content = ? WHERE first_sequence = ?", (content, RECORDS + 1))
    with opened(file.parent, clock, lost) as spool:
        assert kept(spool) == [*range(1, RECORDS + 1), RECORDS + 4, RECORDS + 5]
        assert lost == [("gate", "spool_damaged", 3)]


def test_a_header_of_another_numbering_is_no_header_of_this_one(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]]
) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE camera SET epoch = epoch - 1")
    with opened(file.parent, clock, lost) as spool:
        assert kept(spool) == []
        assert lost == [("gate", "spool_damaged", RECORDS)]


def test_a_repair_that_was_cut_short_keeps_the_file_that_it_had_set_aside(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]]
) -> None:
    whole = file.read_bytes()
    damage(file, page=30)
    damaged = file.read_bytes()
    # As far as it was when it died: the damaged file has its new name, the repaired one not yet.
    file.rename(f"{file}.damaged")
    Path(f"{file}.repaired").write_bytes(whole)
    with opened(file.parent, clock, lost) as spool:
        assert len(kept(spool)) == RECORDS
    assert Path(f"{file}.damaged").read_bytes() == damaged


def test_an_edge_starts_with_a_camera_whose_row_is_damaged_and_whose_records_are_of_another_format(
    file: Path, clock: ManualClock, lost: list[tuple[str, str, int]]
) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "UPDATE header SET content = CAST(substr(content, 1, 4) || x'01' || substr(content, 6) AS BLOB)"
        )
        connection.execute("UPDATE camera SET last_persisted = 'abc'")
    with opened(file.parent, clock, lost) as spool:
        spool_records(spool.camera("gate"), 2)
        assert len(kept(spool)) == 2
