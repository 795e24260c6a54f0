"""What videos and thumbnails take is known without counting them, and either may go while the other stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, text

from cloud_service.archive.catalogue import VideoCatalogue, mark_gone
from cloud_service.archive.writer import VideoSegment
from cloud_service.database.opening import open_database
from cloud_service.database.statements import transaction
from cloud_service.database.tables import VideoSegmentRow
from cloud_service.database.usage import Amount, Tier, UsageKey, add_usage, read_usage
from cloud_service.database.usage_tables import UsageRow
from tests.cloud_service.archive.test_writer import video_at

VIDEO, THUMBNAILS = UsageKey("gate", Tier.VIDEO), UsageKey("gate", Tier.THUMBNAILS)


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def gone(database: Engine, numbers: Sequence[int], tier: Tier) -> list[str]:
    with transaction(database) as connection:
        return mark_gone(connection, "gate", numbers, tier)


def numbers_of(videos: Sequence[VideoSegment]) -> list[int]:
    return [video.number for video in videos]


def test_what_is_entered_counts_once_however_often_it_is_entered(database: Engine) -> None:
    catalogue = VideoCatalogue(database)
    catalogue.add_part(video_at(4, 0))
    catalogue.add_whole("gate", 4, video_at(4, 0, frames=9))
    catalogue.add_whole("gate", 5, None)
    catalogue.add_whole("gate", 6, video_at(6, 1))
    assert read_usage(database) == {VIDEO: Amount(2, 20, 8192), THUMBNAILS: Amount(2, 2, 1024)}


def test_a_video_may_go_while_its_thumbnail_stays_and_the_other_way_round(database: Engine) -> None:
    catalogue = VideoCatalogue(database)
    for number in (1, 2, 3):
        catalogue.add_whole("gate", number, video_at(number, number * 1_000_000))
    assert gone(database, [1], Tier.VIDEO) == ["1.mp4"]
    assert gone(database, [2], Tier.THUMBNAILS) == ["2.jpg"]
    assert gone(database, [1, 9], Tier.VIDEO) == []
    assert read_usage(database) == {VIDEO: Amount(2, 20, 8192), THUMBNAILS: Amount(2, 2, 1024)}
    assert numbers_of(catalogue.list("gate", None, None)) == [2, 3]
    assert numbers_of(catalogue.oldest("gate", Tier.VIDEO, 5)) == [2, 3]
    assert numbers_of(catalogue.oldest("gate", Tier.THUMBNAILS, 5)) == [1, 3]
    assert [(video.path, video.bytes, video.thumbnail_path) for video in catalogue.oldest("gate", Tier.VIDEO, 1)] == [
        ("2.mp4", 10, "")
    ]
    assert numbers_of(catalogue.oldest("gate", Tier.VIDEO, 5, before_us=3_000_000)) == [2]


def test_what_is_gone_whole_leaves_no_row_and_what_is_rendered_again_counts_again(database: Engine) -> None:
    catalogue = VideoCatalogue(database)
    catalogue.add_whole("gate", 1, video_at(1, 0))
    assert gone(database, [1], Tier.VIDEO) == ["1.mp4"]
    assert gone(database, [1], Tier.THUMBNAILS) == ["1.jpg"]
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM video_segments")) == 0
    assert set(read_usage(database).values()) == {Amount()}
    catalogue.add_whole("gate", 1, video_at(1, 0))
    assert gone(database, [1], Tier.VIDEO) == ["1.mp4"]
    catalogue.add_whole("gate", 1, video_at(1, 0))
    assert read_usage(database) == {VIDEO: Amount(1, 10, 4096), THUMBNAILS: Amount(1, 1, 512)}


def test_years_of_videos_that_are_gone_or_of_another_time_are_not_read(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'plans.db'}")
    catalogue, statements = VideoCatalogue(database), list[tuple[str, tuple[object, ...]]]()
    event.listen(database, "before_cursor_execute", lambda *told: statements.append((told[2], told[3])))
    catalogue.oldest("gate", Tier.VIDEO, 5)
    catalogue.oldest("gate", Tier.THUMBNAILS, 5, before_us=9)
    catalogue.list("gate", 10, 20)
    with database.connect() as connection:
        plans = [
            " ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
            for statement, values in statements[:3]
        ]
    assert plans == [
        "SEARCH video_segments USING INDEX ix_video_segments_video (camera=?)",
        "SEARCH video_segments USING INDEX ix_video_segments_thumbnail (camera=? AND start_us<?)",
        "SEARCH video_segments USING INDEX ix_video_segments_video (camera=? AND start_us>? AND start_us<?)",
    ]
    database.dispose()


def test_a_change_that_is_taken_back_takes_its_usage_back(database: Engine) -> None:
    VideoCatalogue(database).add_whole("gate", 1, video_at(1, 0))
    before = read_usage(database)

    def change() -> None:
        with transaction(database) as connection:
            mark_gone(connection, "gate", [1], Tier.VIDEO)
            add_usage(connection, {UsageKey("gate", Tier.RECORDS): Amount(1, 100, 4096)})
            raise RuntimeError("taken back")

    with pytest.raises(RuntimeError, match="taken back"):
        change()
    assert read_usage(database) == before


def test_a_video_that_is_rendered_again_while_it_is_deleted_is_counted_as_it_is_in_the_end(database: Engine) -> None:
    catalogue = VideoCatalogue(database)
    catalogue.add_whole("gate", 1, video_at(1, 0))
    again = threading.Thread(target=catalogue.add_whole, args=("gate", 1, video_at(1, 0)))
    with transaction(database) as connection:
        mark_gone(connection, "gate", [1], Tier.VIDEO)
        again.start()
        while database.dialect.name == "postgresql" and not waits(database):
            time.sleep(0.01)
    again.join()
    assert read_usage(database) == {VIDEO: Amount(1, 10, 4096), THUMBNAILS: Amount(1, 1, 512)}


def waits(database: Engine) -> bool:
    """Whether a transaction of PostgreSQL's waits for another."""
    with database.connect() as connection:
        return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "video", "thumbnails"]), st.integers(1, 4), st.integers(0, 5000)),
        max_size=12,
    )
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_and_goes_the_usage_is_what_the_rows_add_up_to(
    database: Engine, steps: list[tuple[str, int, int]]
) -> None:
    with database.begin() as connection:
        for table in (VideoSegmentRow, UsageRow):
            connection.execute(delete(table))
    catalogue = VideoCatalogue(database)
    for what, number, size in steps:
        if what == "add":
            video = video_at(number, number)
            catalogue.add_part(VideoSegment(**{**vars(video), "bytes": size, "disk_bytes": 2 * size}))
        else:
            gone(database, [number], Tier(what))
    sums = []
    with database.connect() as connection:
        for path, columns in (
            ("path", "bytes, disk_bytes"),
            ("thumbnail_path", "thumbnail_bytes, thumbnail_disk_bytes"),
        ):
            small, large = columns.split(", ")
            sums.append(
                Amount(
                    *connection.execute(
                        text(
                            f"SELECT count(*), coalesce(sum({small}), 0), coalesce(sum({large}), 0)"
                            f" FROM video_segments WHERE {path} <> ''"
                        )
                    ).one()
                )
            )
    usage = read_usage(database)
    assert [usage.get(VIDEO, Amount()), usage.get(THUMBNAILS, Amount())] == sums
