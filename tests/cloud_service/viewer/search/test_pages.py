"""Search and review in a real browser, of a real viewer beside a real cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import quiet_page
from tests.cloud_service.viewer.live.conftest import LiveHouse
from tests.cloud_service.viewer.live.test_wall import log_in

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def seen(live: LiveHouse) -> LiveHouse:
    """With a square that was seen by two cameras that vera sees and one that she does not."""
    for name in ("gate", "yard-a", "cellar"):
        camera = live.camera(name)
        for left in range(16, 200, 24):
            live.send(camera, left)
    return live


@contextmanager
def at(browser: Browser, live: LiveHouse, path: str, **context: Any) -> Iterator[Page]:
    with quiet_page(browser, live.house.url, **context) as page:
        log_in(page, "vera")
        page.wait_for_load_state()
        page.goto(path)
        yield page


def wait_for_sightings(page: Page, cameras: int) -> None:
    """Segments are folded some seconds after they are done with."""
    tiles = page.locator("[data-sighting]")
    for _ in range(PATIENCE_MS // 500):
        if len(set(page.locator(".sighting-where").all_inner_texts())) >= cameras:
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"only {tiles.count()} sightings")


def test_what_was_seen_is_found_by_what_and_where_with_its_picture(browser: Browser, seen: LiveHouse) -> None:
    with at(browser, seen, "/search") as page:
        wait_for_sightings(page, 2)
        assert set(page.locator(".sighting-where").all_inner_texts()) == {"gate", "yard-a"}
        page.get_by_label("square").check()
        page.get_by_label("yard-a").check()
        page.get_by_role("button", name="Search", exact=True).click()
        page.wait_for_url("**camera=yard-a*")
        assert set(page.locator(".sighting-where").all_inner_texts()) == {"yard-a"}
        page.locator("[data-sighting] img").first.scroll_into_view_if_needed()
        page.wait_for_function("document.querySelector('[data-sighting] img').naturalWidth > 0", timeout=PATIENCE_MS)


def test_a_region_is_drawn_on_the_picture_of_the_one_camera(browser: Browser, seen: LiveHouse) -> None:
    with at(browser, seen, "/search?camera=gate") as page:
        canvas = page.locator("[data-where-canvas]")
        page.wait_for_function("document.querySelector('[data-where-image]').naturalWidth > 0", timeout=PATIENCE_MS)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.8 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.95 * box["height"])
        page.mouse.up()
        edges = [float(edge) for edge in page.input_value("#region").split(",")]
        assert edges == pytest.approx([0.5, 0.8, 0.9, 0.95], abs=0.01)
        page.get_by_role("button", name="Search", exact=True).click()
        page.wait_for_url("**region=*")
        assert page.locator("[data-sighting]").count() == 0, "the square never was in the lower part"


def test_by_keys_what_is_new_is_gone_through_and_marked_as_seen(browser: Browser, seen: LiveHouse) -> None:
    with at(browser, seen, "/review") as page:
        wait_for_sightings(page, 2)
        first = page.locator("[data-sighting]").first.get_attribute("data-sighting")
        page.keyboard.press("j")
        with page.expect_response("**/review/seen") as answered:
            page.keyboard.press("r")
        assert answered.value.status == 204
        page.reload()
        assert page.locator(f'[data-sighting="{first}"]').count() == 0
        page.get_by_role("button", name="All up to now is seen").click()
        expect(page.get_by_text("You have seen everything")).to_be_visible()


def test_the_small_picture_is_a_part_of_the_best_frame_and_others_cameras_are_not_there(
    browser: Browser, seen: LiveHouse
) -> None:
    with at(browser, seen, "/search") as page:
        wait_for_sightings(page, 2)
        address = page.locator("[data-sighting] img").first.get_attribute("src")
        assert address is not None
    visit = seen.house.logged_in("vera")
    with Image.open(BytesIO(visit.get(address).content)) as picture:
        assert picture.width <= 320
        assert picture.height <= 180
    number = address.split("/")[-2]
    assert visit.get(f"/cameras/cellar/sightings/{number}/crop.jpg").status_code == 404
    other = "yard-a" if "gate" in address else "gate"
    assert visit.get(f"/cameras/{other}/sightings/{number}/crop.jpg").status_code == 404
    for hostile in ("-1", "1,2", "x", "9" * 30):
        assert visit.get(f"/cameras/gate/sightings/{hostile}/crop.jpg").status_code in (400, 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/search?camera=cellar", 404),
        ("/search?score=2", 400),
        ("/search?after=AAAA", 400),
        ("/review?after=%00", 400),
        ("/search?from=x", 400),
    ],
)
def test_what_cannot_be_searched_is_said(seen: LiveHouse, path: str, status: int) -> None:
    answer = seen.house.logged_in("vera").get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_marks_are_taken_of_sightings_alone(seen: LiveHouse) -> None:
    visit = seen.house.logged_in("vera")
    assert visit.send("/review/seen", sightings="1;DROP TABLE", seen="1").status_code == 400
    assert visit.send("/review/seen", sightings="999999999", seen="1").status_code == 204
    assert visit.send("/review/all", before="soon").status_code == 400


@pytest.mark.parametrize("path", ["/search", "/review"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_keeps_people_out(browser: Browser, seen: LiveHouse, path: str, scheme: str, width: int) -> None:
    with at(browser, seen, path, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_form_searches(browser: Browser, seen: LiveHouse) -> None:
    with at(browser, seen, "/search", java_script_enabled=False) as page:
        page.get_by_label("gate").check()
        page.get_by_role("button", name="Search", exact=True).click()
        page.wait_for_url("**camera=gate*")
        expect(page.locator("[data-where]")).to_be_hidden()
