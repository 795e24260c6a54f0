"""``icm-bench viewer``: each page of the viewer is measured or left out for a reason; a tiny archive has figures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cloud_service.database.opening import attach_database
from cloud_service.database.tables import RecordSegmentRow, VideoSegmentRow
from cloud_service.database.usage import Tier
from cloud_service.database.usage_tables import UsageRow
from cloud_service.settings import CloudSettings
from cloud_service.store.index.rows import COLUMNS, segment_of
from cloud_service.viewer.app import ViewerApp
from cloud_service.viewer.web.routes import Page
from icm_bench.archive.search_scenes import Scale
from icm_bench.viewer import pages
from icm_bench.viewer.page_table import NOT_MEASURED, PAGES, PERSON
from icm_bench.viewer.pages_data import viewer_database
from tests.cloud_service.viewer.house import make_database

SCALE = Scale(400, 2, 1)
SEGMENTS = 2 * 8640


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny archive is kept."""
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Of the whole viewer what a browser reads."""
    folder = tmp_path_factory.mktemp("cloud")
    make_database(folder)
    settings = CloudSettings.model_validate(
        {"store": {"folder": folder}, "viewer": {"address": "127.0.0.1:0", "metrics": "127.0.0.1:0"}}
    )

    async def walk() -> set[str]:
        app = ViewerApp(settings)
        entries = [getattr(route.endpoint, "entry", None) for route in app.starlette.routes]  # type: ignore[attr-defined]
        await app.close()
        return {entry.path for entry in entries if isinstance(entry, Page) and "GET" in entry.methods}

    return asyncio.run(walk())


def test_every_page_is_measured_or_left_out_for_a_reason(routes: set[str]) -> None:
    measured = {page.route for page in PAGES}
    assert routes - measured - NOT_MEASURED.keys() == set(), "pages to be added to page_table.py"
    assert (measured | NOT_MEASURED.keys()) - routes == set(), "pages that there are no more"
    assert measured & NOT_MEASURED.keys() == set()


def test_no_page_may_take_longer_than_150_ms_but_the_login() -> None:
    assert [page.name for page in PAGES if page.budget_ms > 150] == ["login, with a password"]


def test_the_archives_rows_are_those_of_a_cloud_and_are_made_once(cache: Path) -> None:
    path = viewer_database(SCALE, cache, PERSON)
    made = path.stat().st_ino
    assert viewer_database(SCALE, cache, PERSON).stat().st_ino == made
    database = attach_database(f"sqlite:///{path}")
    with database.connect() as connection:
        segments = [segment_of(row) for row in connection.execute(select(*COLUMNS))]
        sizes = select(func.sum(RecordSegmentRow.size), func.sum(RecordSegmentRow.disk_bytes))
        used = select(func.sum(UsageRow.bytes), func.sum(UsageRow.disk_bytes)).where(UsageRow.tier == Tier.RECORDS)
        assert connection.execute(sizes).one() == connection.execute(used).one()
        assert connection.scalar(select(func.count()).select_from(VideoSegmentRow)) == SEGMENTS
    database.dispose()
    assert len(segments) == SEGMENTS
    assert all(segments), "a row with a checksum that does not fit"


def test_every_page_has_its_row_with_what_it_asks_the_database(cache: Path, tmp_path: Path) -> None:
    size = ["--frames", str(SCALE.frames), "--cameras", str(SCALE.cameras), "--days", str(SCALE.days)]
    folders = ["--cache", str(cache), "--results", str(tmp_path)]
    assert pages.run([*size, *folders, "--times", "2", "--rounds", "1"]) == 0
    rows = {row["page"]: row for row in json.loads((tmp_path / "viewer.json").read_text())["rows"]}
    assert list(rows) == [page.name for page in PAGES]
    assert all(row["p95_ms"] >= row["p50_ms"] > 0 for row in rows.values())
    assert {page.name for page in PAGES if rows[page.name]["queries"] > page.queries} == set()
    # The session, its page, and what the page shows.
    assert (rows["login, the form"]["queries"], rows["about"]["queries"], rows["cameras"]["queries"]) == (0, 1, 3)
