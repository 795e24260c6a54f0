"""A spool of an earlier release is brought up to date and loses nothing; one of a newer release is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_service.spool.folder import FILE_NAME
from edge_service.spool.schema.upgrade import COLUMNS, NEWEST
from edge_service.spool.store import Spool
from icm.codec.bitstream.record import StreamHeader
from icm.errors import SpoolError
from icm.service.clock import ManualClock
from tests.edge_service.parts import CODEC_ID
from tests.edge_service.spool.test_store import opened, sequences

EPOCH = 1_790_000_000_000_000
HEADER = StreamHeader(CODEC_ID, "gate", EPOCH, EPOCH, 64, 48).pack()

# As the releases before there were steps made it.
FIRST_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE camera (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, next_sequence INTEGER NOT NULL,
    last_persisted INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE header (
    camera INTEGER NOT NULL, first_sequence INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (camera, first_sequence)
);
CREATE TABLE record (
    camera INTEGER NOT NULL, sequence INTEGER NOT NULL, spooled_us INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (camera, sequence)
);
"""
LAST_SCHEMA = (
    FIRST_SCHEMA
    + """
CREATE TABLE stand_in (
    camera INTEGER NOT NULL, sequence INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (camera, sequence)
);
CREATE TABLE detection (camera INTEGER PRIMARY KEY, spooled_us INTEGER NOT NULL);
"""
)
# Four records were spooled, the first is persisted.
ROWS = f"""
INSERT INTO camera VALUES (1, 'gate', {EPOCH}, 5, 1, 18);
INSERT INTO header VALUES (1, 1, x'{HEADER.hex()}');
INSERT INTO record VALUES (1, 2, {EPOCH}, 'second'), (1, 3, {EPOCH}, 'third.'), (1, 4, {EPOCH}, 'fourth');
UPDATE record SET content = CAST(content AS BLOB);
"""


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(folder: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}


def made_by(folder: Path, *scripts: str) -> Path:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        for script in scripts:
            connection.executescript(script)
        connection.execute("PRAGMA journal_mode = WAL")
    return folder


@pytest.mark.parametrize("schema", [FIRST_SCHEMA, LAST_SCHEMA], ids=["the first", "the last"])
def test_a_spool_from_before_there_were_steps_goes_on_where_it_stood(
    tmp_path: Path, clock: ManualClock, schema: str
) -> None:
    made_by(tmp_path, schema, ROWS)
    assert version(tmp_path) == 0
    with opened(tmp_path, clock) as spool:
        gate = spool.camera("gate")
        assert (spool.bytes, gate.epoch, gate.last_persisted(), gate.next_sequence) == (18, EPOCH, 1, 5)
        batch = gate.read(0, 10, 1000)
        assert batch is not None
        assert batch.records == [(2, b"second"), (3, b"third."), (4, b"fourth")]
        assert batch.header == HEADER
        gate.append(5, None, b"fifth", intra_copy=b"fifth alone")
        gate.persisted(2, 3)
        gate.detected(4)
    assert version(tmp_path) == NEWEST
    assert tables(tmp_path) == {table: list(columns) for table, columns in COLUMNS.items()}
    with opened(tmp_path, clock) as spool:
        assert sequences(spool) == [4, 5]


def test_a_new_spool_is_of_the_newest_step_and_gives_its_room_back(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock):
        pass
    assert version(tmp_path) == NEWEST
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_spool_that_a_newer_release_used_is_refused_as_it_is(tmp_path: Path, clock: ManualClock) -> None:
    made_by(tmp_path, LAST_SCHEMA, ROWS, "ALTER TABLE record ADD COLUMN priority INTEGER; PRAGMA user_version = 7")
    before = (tmp_path / FILE_NAME).read_bytes()
    for _ in range(2):
        with pytest.raises(SpoolError, match=rf"newer icm-edge: its schema is 7, this release knows up to {NEWEST}"):
            Spool(tmp_path, 1_000_000, 3600.0, clock)
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("number", [NEWEST + 2, 1 << 20, -1])
def test_a_number_that_the_disk_made_of_ours_keeps_no_edge_from_starting(
    tmp_path: Path, clock: ManualClock, number: int
) -> None:
    made_by(tmp_path, LAST_SCHEMA, ROWS, f"PRAGMA user_version = {number}")
    with opened(tmp_path, clock) as spool:
        assert sequences(spool) == [2, 3, 4]
    assert version(tmp_path) == NEWEST
