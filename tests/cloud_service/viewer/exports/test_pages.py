"""Exports in a real browser, of a real viewer beside a real cloud."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from cloud_service.viewer.accounts.roles import Role
from icm.command.cli import main
from tests.browser import quiet_page
from tests.cloud_service.viewer.house import add_user
from tests.cloud_service.viewer.live.conftest import LiveHouse
from tests.cloud_service.viewer.live.test_wall import log_in

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def stored(live: LiveHouse) -> LiveHouse:
    """With some frames of one camera, and the operators ``otto`` and ``olga``."""
    for name in ("otto", "olga"):
        add_user(live.house.folder, name, Role.OPERATOR)
    camera = live.camera("gate")
    for left in range(16, 120, 24):
        live.send(camera, left)
    return live


def around_now() -> tuple[str, str]:
    now = datetime.now(UTC)
    return tuple(f"{now + timedelta(minutes=by):%Y-%m-%dT%H:%M:%S}" for by in (-10, 10))  # type: ignore[return-value]


def test_an_export_is_made_checked_fetched_shared_and_deleted(
    browser: Browser, stored: LiveHouse, tmp_path: Path
) -> None:
    start, end = around_now()
    with quiet_page(browser, stored.house.url, accept_downloads=True) as page:
        log_in(page, "otto")
        page.wait_for_load_state()
        page.goto(f"/exports?camera=gate&from={start}&to={end}")
        expect(page.get_by_label("gate")).to_be_checked()
        page.get_by_label("What the case is about").fill("a theft at the gate")
        page.get_by_role("button", name="Export").click()
        page.wait_for_selector('[data-export-state="done"]', timeout=PATIENCE_MS)
        page.get_by_role("button", name="Check it as a stranger would").click()
        page.wait_for_selector('[data-verdict="holds"]', timeout=PATIENCE_MS)
        expect(page.locator("pre")).to_contain_text("verdict: nothing is wrong with case.zip")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        case = tmp_path / "case.zip"
        download.value.save_as(case)
        assert "a theft at the gate" in zipfile.ZipFile(case).read("case.json").decode()
        assert main(["verify", str(case)]) == 0
        link = page.locator(".secret").inner_text()
        with stored.house.client() as stranger:
            shared = stranger.get(link)
            assert (shared.status_code, shared.content) == (200, case.read_bytes())
            assert stranger.get(link[:-1]).status_code == 404
            assert stranger.get(link, headers={"range": "bytes=0-3"}).content == case.read_bytes()[:4]
        address = page.url
        other = stored.house.logged_in("olga")
        assert other.get(address).status_code == 404
        assert address.rpartition("/")[2] not in other.get("/exports").text
        assert stored.house.logged_in("anna").get(address).status_code == 200
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_text("The export was deleted.")).to_be_visible()
        with stored.house.client() as stranger:
            assert stranger.get(link).status_code == 404


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera-gate": None}, "choose at least one camera"),
        ({"from": "soon"}, "the start is"),
        ({"to": "1990-01-01T00:00"}, "ends before it begins"),
        ({"case": " "}, "say what the case is about"),
    ],
)
def test_what_cannot_be_exported_is_named_and_the_form_keeps_the_rest(
    stored: LiveHouse, changes: dict[str, str | None], said: str
) -> None:
    start, end = around_now()
    fields: dict[str, str | None] = {"camera-gate": "on", "from": start, "to": end, "case": "a case", **changes}
    answer = stored.house.logged_in("otto").send(
        "/exports", **{name: value for name, value in fields.items() if value is not None}
    )
    assert (answer.status_code, said in answer.text) == (400, True)
    if "case" not in changes:
        assert 'value="a case"' in answer.text


def test_a_range_of_which_nothing_is_stored_fails_and_says_so(stored: LiveHouse) -> None:
    visit = stored.house.logged_in("otto")
    form = {"camera-gate": "on", "from": "2001-01-01T00:00", "to": "2001-01-02T00:00", "case": "long ago"}
    address = visit.send("/exports", **form).headers["location"]
    for _ in range(600):
        if "It failed" in (text := visit.get(address).text):
            break
    assert "It failed" in text
    assert visit.get(f"{address}/case.zip").status_code == 404
    assert visit.send(f"{address}/verify").status_code == 400


def test_who_only_looks_exports_nothing(stored: LiveHouse) -> None:
    visit = stored.house.logged_in("vera")
    assert visit.get("/exports").status_code == 403
    assert visit.send("/exports", case="x").status_code == 403
    assert visit.get("/exports/0123456789abcdef").status_code == 403


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_keeps_people_out(browser: Browser, stored: LiveHouse, scheme: str, width: int) -> None:
    with quiet_page(browser, stored.house.url, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        log_in(page, "otto")
        page.wait_for_load_state()
        page.goto("/exports")
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
