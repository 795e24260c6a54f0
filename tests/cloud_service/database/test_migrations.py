"""A database of an earlier release is brought up to date and keeps its rows; one of a newer release is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import google_crc32c
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.database.migrations.upgrade import upgrade
from cloud_service.database.opening import attach_database, open_database
from cloud_service.database.tables import Base
from cloud_service.database.usage import Amount, Tier, UsageKey, read_usage
from cloud_service.detection import Detection
from cloud_service.events.store import EventStore, FrameEvent, FrameSkipped
from cloud_service.store import Position
from cloud_service.store.cursors import load_cursors
from icm.errors import StorageError
from icm.frame_id import FrameId
from tests.cloud_service.parts import EPOCH, START_US, close_stores, open_store
from tests.cloud_service.store.test_store import append, files, indexed, read_all

# As the release before there were steps made it on SQLite.
OLD_SCHEMA = """
CREATE TABLE store (id BIGINT NOT NULL, name VARCHAR NOT NULL, PRIMARY KEY (id));
CREATE TABLE record_segments (
    camera VARCHAR NOT NULL, number BIGINT NOT NULL, epoch BIGINT NOT NULL, path VARCHAR NOT NULL,
    size BIGINT NOT NULL, records BIGINT NOT NULL, first_capture_us BIGINT NOT NULL, last_capture_us BIGINT NOT NULL,
    sequences VARCHAR NOT NULL, checksum BIGINT NOT NULL, PRIMARY KEY (camera, number)
);
CREATE TABLE frames (
    id INTEGER NOT NULL, camera VARCHAR NOT NULL, epoch BIGINT NOT NULL, sequence BIGINT NOT NULL,
    capture_us BIGINT NOT NULL, model VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE (camera, epoch, sequence, model)
);
CREATE INDEX ix_frames_camera_capture ON frames (camera, capture_us);
CREATE TABLE skipped_frames (
    camera VARCHAR NOT NULL, epoch BIGINT NOT NULL, sequence BIGINT NOT NULL, why VARCHAR NOT NULL,
    PRIMARY KEY (camera, epoch, sequence)
);
CREATE TABLE video_segments (
    camera VARCHAR NOT NULL, number BIGINT NOT NULL, start_us BIGINT NOT NULL, duration_us BIGINT NOT NULL,
    frames BIGINT NOT NULL, path VARCHAR NOT NULL, bytes BIGINT NOT NULL, thumbnail_path VARCHAR NOT NULL,
    thumbnail_bytes BIGINT NOT NULL, PRIMARY KEY (camera, number)
);
CREATE INDEX ix_video_segments_start ON video_segments (camera, start_us);
CREATE TABLE progress (
    camera VARCHAR NOT NULL, detect_segment BIGINT NOT NULL, detect_offset BIGINT NOT NULL,
    archive_segment BIGINT NOT NULL, PRIMARY KEY (camera)
);
CREATE TABLE detections (
    id INTEGER NOT NULL, frame_id INTEGER NOT NULL, class_name VARCHAR NOT NULL, score DOUBLE NOT NULL,
    "left" DOUBLE NOT NULL, top DOUBLE NOT NULL, "right" DOUBLE NOT NULL,
    bottom DOUBLE NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
);
CREATE INDEX ix_detections_frame ON detections (frame_id);
CREATE INDEX ix_detections_class ON detections (class_name, frame_id);
"""
OLD_ROWS = f"""
INSERT INTO store VALUES (1, '0123456789abcdef');
INSERT INTO frames (camera, epoch, sequence, capture_us, model) VALUES
    ('gate', {EPOCH}, 1, {START_US}, 'tiny'), ('gate', {EPOCH}, 2, {START_US + 100_000}, 'tiny');
INSERT INTO detections (frame_id, class_name, score, "left", top, "right", bottom) VALUES
    (1, 'dog', 0.5, 1, 2, 3, 4), (1, 'cat', 0.25, 5, 6, 7, 8);
INSERT INTO skipped_frames VALUES ('gate', {EPOCH}, 3, 'damaged');
INSERT INTO video_segments VALUES ('gate', 1, {START_US}, 1000000, 10, 'gate/1.mp4', 500, 'gate/1.jpg', 50);
INSERT INTO progress VALUES ('gate', 2, 100, 2);
"""
SEGMENTS = "camera, number, epoch, path, size, records, first_capture_us, last_capture_us, sequences, checksum"


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def execute(url: str, script: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in script.split(";"):
            if statement.strip():
                connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def old_url(database_url: str, tmp_path: Path) -> str:
    """A database of the release before, about 25 records in three segments below ``records``."""
    schema = OLD_SCHEMA
    if database_url.startswith("postgresql"):
        kinds = (("    id INTEGER", "    id BIGSERIAL"), ("INTEGER", "BIGINT"), ("DOUBLE", "DOUBLE PRECISION"))
        for sqlites, its in kinds:
            schema = schema.replace(sqlites, its)
    execute(database_url, schema + OLD_ROWS)
    made = open_database(f"sqlite:///{tmp_path / 'made.db'}")
    store = open_store(tmp_path / "records", made)
    append(store, *range(1, 26))
    store.close()
    engine = create_engine(database_url)
    with made.connect() as of, engine.begin() as connection:
        for row in of.execute(text(f"SELECT {SEGMENTS} FROM record_segments")):
            names = ", ".join(f":{name}" for name in SEGMENTS.split(", "))
            checksum = google_crc32c.value(repr(list(row)[:-1]).encode())
            values = {**row._mapping, "checksum": checksum}
            connection.execute(text(f"INSERT INTO record_segments VALUES ({names})"), values)
    engine.dispose()
    made.dispose()
    return database_url


def test_what_the_steps_make_is_what_the_tables_say(database: Engine) -> None:
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_database_from_before_there_were_steps_keeps_all_that_is_in_it(old_url: str) -> None:
    database = open_database(old_url)
    events = EventStore(database)
    found = (Detection("dog", 0.5, 1.0, 2.0, 3.0, 4.0), Detection("cat", 0.25, 5.0, 6.0, 7.0, 8.0))
    one, two, three = (FrameId("gate", EPOCH, sequence) for sequence in (1, 2, 3))
    assert events.get(one) == FrameEvent(one, START_US, "tiny", found)
    assert events.get(two) == FrameEvent(two, START_US + 100_000, "tiny", ())
    assert events.get(three) == FrameSkipped(three, "damaged")
    assert load_cursors(database, "gate").detect == Position(2, 100)
    assert load_cursors(database, "gate").archive == 2
    assert [(of.path, of.fragments) for of in VideoCatalogue(database).list("gate", None, None)] == [("gate/1.mp4", ())]
    assert read_usage(database) == {
        UsageKey("gate", Tier.VIDEO): Amount(1, 500, 500),
        UsageKey("gate", Tier.THUMBNAILS): Amount(1, 50, 50),
    }
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.scalar(text("SELECT name FROM store")) == "0123456789abcdef"
    # What has an event keeps it, and new ones come beside it.
    again = FrameEvent(two, 0, "tiny", found)
    new = FrameEvent(FrameId("gate", EPOCH, 4), START_US + 300_000, "tiny", ())
    events.commit([again, new], (), {})
    assert [event.key.sequence for event in events.search()] == [4, 2, 1]
    close_stores(database)


def test_the_index_of_a_database_from_before_there_were_steps_saves_the_start_the_reading(
    old_url: str, tmp_path: Path
) -> None:
    database = open_database(old_url)
    first, second, _ = files(tmp_path / "records")
    before = first.read_bytes()
    second.write_bytes(bytes(second.stat().st_size))
    store = open_store(tmp_path / "records", database)
    assert store.holds("gate", EPOCH, 15)
    assert store.find("gate", EPOCH, 7).records[-1].sequence == 7
    first.write_bytes(before)
    assert append(store, 25, 26) == [False, True]
    store.close()
    assert indexed(database) == [("gate", 1), ("gate", 2), ("gate", 3), ("gate", 4)]
    close_stores(database)


def test_an_index_from_before_its_rows_had_checksums_is_made_anew(old_url: str, tmp_path: Path) -> None:
    execute(old_url, "ALTER TABLE record_segments DROP COLUMN checksum")
    database = open_database(old_url)
    assert indexed(database) == []
    assert read_all(open_store(tmp_path / "records", database)) == list(range(1, 26))
    assert len(indexed(database)) == 3
    close_stores(database)


def test_a_step_that_fails_leaves_the_database_as_it_was(old_url: str) -> None:
    execute(old_url, "CREATE TABLE empty_frames (something BIGINT)")
    with pytest.raises(StorageError, match="empty_frames"):
        open_database(old_url)
    engine = create_engine(old_url)
    assert "state" not in {column["name"] for column in inspect(engine).get_columns("record_segments")}
    assert not inspect(engine).has_table("alembic_version")
    engine.dispose()
    execute(old_url, "DROP TABLE empty_frames")
    database = open_database(old_url)
    assert len(indexed(database)) == 3
    close_stores(database)


def test_a_database_that_a_newer_release_used_is_refused_with_what_to_do(database: Engine, database_url: str) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))
        connection.execute(text("CREATE TABLE of_the_future (id BIGINT)"))
    with pytest.raises(StorageError, match=r"newer icm-cloud: its schema is 9001, this release knows up to [0-9]+"):
        open_database(database_url)
    with database.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9001"


def test_a_start_with_a_database_that_is_up_to_date_writes_nothing_to_it(tmp_path: Path) -> None:
    """So a full disk keeps none from starting."""
    url = f"sqlite:///{tmp_path / 'cloud.db'}"
    open_database(url).dispose()
    with closing(sqlite3.connect(tmp_path / "cloud.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        engine = create_engine(f"{url}?timeout=0")
        upgrade(engine)
        with pytest.raises(SQLAlchemyError, match="locked"), engine.begin() as connection:
            connection.execute(text("DELETE FROM progress"))
        engine.dispose()


def test_who_looks_on_opens_the_database_of_a_running_cloud_and_changes_no_table(
    database: Engine, database_url: str
) -> None:
    other = attach_database(database_url)
    with other.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    other.dispose()
    assert database.url == other.url


def test_who_looks_on_is_refused_a_database_of_another_release(old_url: str) -> None:
    with pytest.raises(StorageError, match="of another release: its schema is none"):
        attach_database(old_url)


def test_who_looks_on_makes_no_database_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        attach_database(f"sqlite:///{tmp_path / 'cloud.db'}")
    assert not list(tmp_path.iterdir())
