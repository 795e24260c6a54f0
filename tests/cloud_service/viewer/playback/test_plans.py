"""Whatever a timeline or a page of the past asks, the database walks indexes, and is asked four times at most."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from cloud_service.database.opening import open_database
from cloud_service.database.statements import walking
from cloud_service.viewer.pages.cameras import newest_frames
from cloud_service.viewer.playback.sprites import read_thumbnails
from cloud_service.viewer.playback.stored.boxes import read_boxes
from cloud_service.viewer.playback.stored.segments import read_segments
from cloud_service.viewer.playback.stored.timeline import read_timeline
from cloud_service.viewer.playback.stored.windows import DAY_US, HOUR_US, SECOND_US, Window
from tests.cloud_service.sightings.test_plans import breaches, noted, plan
from tests.databases import KINDS, url_of_new

START_US = 1_790_000_000_000_000
SEGMENTS, CAMERAS, SEGMENT_US = 24_000, 4, 10 * SECOND_US
NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {SEGMENTS - 1})"
OF_CAMERA, OF_NUMBER = f"'camera-' || (i % {CAMERAS})", f"1 + i / {CAMERAS}"
OF_START = f"{START_US} + i / {CAMERAS} * {SEGMENT_US}"
FILL = {
    "record_segments": f"""(camera, number, epoch, path, size, records, first_capture_us, last_capture_us, sequences,
        kept_from_us, disk_bytes, sha256, checksum, first_sequence, last_sequence, state) SELECT {OF_CAMERA},
        {OF_NUMBER}, 7, 'r' || i, 30000, 20, {OF_START}, {OF_START} + 9500000, '1-20', {OF_START}, 32768, :nothing, 0,
        1 + 20 * i, 20 + 20 * i, 'whole'""",
    "video_segments": f"""(camera, number, start_us, duration_us, frames, path, bytes, thumbnail_path, thumbnail_bytes,
        disk_bytes, thumbnail_disk_bytes, init, fragments) SELECT {OF_CAMERA}, {OF_NUMBER}, {OF_START}, {SEGMENT_US},
        20, CASE WHEN i < 12000 THEN '' ELSE 'v' || i END, 90000, 't' || i, 5000, 90000, 5000, 'init', '0:0:5000000'""",
    "tombstones": f"""(camera, number, epoch, first_capture_us, last_capture_us, records, size, sequences, sha256,
        reason, rule, deleted_by, deleted_us) SELECT {OF_CAMERA}, -{OF_NUMBER}, 7, {OF_START} - 500000000000,
        {OF_START} - 499990000000, 20, 30000, '1-20', :nothing, 'max_age', 'rule', 'retention', 0""",
    "activity": f"""(camera, seconds, start_us, class_name, model, frames, boxes, best_score) SELECT {OF_CAMERA}, 60,
        {START_US} - {START_US} % 60000000 + i / {CAMERAS} * 60000000, 'person', 'tiny', 9, 9, 0.5""",
    "record_activity": f"""(camera, seconds, start_us, bytes) SELECT {OF_CAMERA}, 60,
        {START_US} - {START_US} % 60000000 + i / {CAMERAS} * 60000000, 30000""",
    "sightings": f"""(camera, class_name, model, start_us, end_us, first_segment, last_segment, frames, best_score,
        best_us, best_epoch, best_sequence, best_box, last_box, union_left, union_top, union_right, union_bottom)
        SELECT {OF_CAMERA}, 'person', 'tiny', {OF_START}, {OF_START} + 5000000, {OF_NUMBER}, {OF_NUMBER}, 9, 0.5,
        {OF_START}, 7, i, :box, :box, 0, 0, 5000, 5000""",
    "progress": f"""(camera, detect_segment, detect_offset, archive_segment) SELECT {OF_CAMERA}, 1, 0, 1""",
}

SMALL = r"SCAN (CONSTANT ROW|(video|records|deleted)_looks|progress USING COVERING INDEX)"
"""What may be read whole: the times that were looked up, one a bucket, and the list of cameras."""


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Cameras with most of a day each, so that reading all of a table costs more than walking an index."""
    database = open_database(url_of_new(request.param, request, tmp_path_factory.mktemp("plans")))
    with database.begin() as connection:
        for table, rows in FILL.items():
            values = {name: value for name, value in {"nothing": b"", "box": bytes(8)}.items() if f":{name}" in rows}
            insert, select = rows.split("SELECT", 1)
            limit = f" WHERE i < {CAMERAS}" if table == "progress" else ""
            connection.execute(text(f"INSERT INTO {table} {insert} {NUMBERS} SELECT {select} FROM n{limit}"), values)
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    yield database
    database.dispose()


MIDDLE_US = START_US + SEGMENTS // CAMERAS // 2 * SEGMENT_US


def around(length_us: int) -> Window:
    return Window(MIDDLE_US - length_us // 2, MIDDLE_US + length_us // 2)


ASKED: dict[str, Callable[[Connection], object]] = {
    "two hours": lambda of: read_timeline(of, "camera-1", around(2 * HOUR_US))["kept"],
    "a day": lambda of: read_timeline(of, "camera-1", around(DAY_US))["kept"],
    "months": lambda of: read_timeline(of, "camera-1", around(64 * DAY_US))["kept"],
    "years": lambda of: read_timeline(of, "camera-1", around(1000 * DAY_US))["kept"],
    "a playlist": lambda of: read_segments(of, "camera-1", around(2 * HOUR_US), fragments=False),
    "cameras": newest_frames,
    "thumbnails": lambda of: read_thumbnails(of, "camera-1", MIDDLE_US // HOUR_US * HOUR_US),
    "boxes": lambda of: read_boxes(of, "camera-1", around(60 * SECOND_US)),
}


@pytest.mark.parametrize("what", ASKED)
def test_no_table_is_read_whole_and_nothing_sorted(filled: Engine, what: str) -> None:
    with noted(filled) as statements, walking(filled) as connection:
        assert ASKED[what](connection)
    asked = [(statement, values) for statement, values in statements if "set_config" not in statement]
    assert 1 <= len(asked) <= 4
    wrong = [line for statement, values in asked for line in breaches(plan(filled, statement, values))]
    assert [line for line in wrong if not re.match(SMALL, line)] == []


def test_a_plan_that_reads_a_whole_table_would_be_found(filled: Engine) -> None:
    assert breaches(plan(filled, "SELECT * FROM tombstones WHERE size = 5"))
