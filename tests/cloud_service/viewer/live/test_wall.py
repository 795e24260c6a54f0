"""The wall in a real browser, of a real viewer beside a real cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import PHONE, quiet_page, what_keeps_people_out
from tests.cloud_service.viewer.house import PASSWORD
from tests.cloud_service.viewer.live.conftest import HEIGHT, SIDE, WIDTH, Camera, LiveHouse, another_viewer

PATIENCE_MS = 30_000
SQUARE_AND_BOX = """(camera) => {
  const tile = document.querySelector(`[data-camera="${camera}"]`);
  const [picture, boxes] = [tile.querySelector("[data-picture]"), tile.querySelector("[data-boxes]")];
  const extent = (canvas, counts) => {
    const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      if (!counts(data[at], data[at + 1], data[at + 2], data[at + 3])) continue;
      [left, top] = [Math.min(left, x), Math.min(top, y)];
      [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
    }
    return [left / width, top / height, right / width, bottom / height];
  };
  return {
    square: extent(picture, (red, green, blue) => red + green + blue > 420),
    box: extent(boxes, (red, green, blue, alpha) => alpha > 0),
  };
}"""


@pytest.fixture(scope="module")
def cameras(live: LiveHouse) -> dict[str, Camera]:
    return {name: live.camera(name) for name in ("gate", "yard-a", "cellar")}


@contextmanager
def wall_of(browser: Browser, url: str, user: str, errors: bool = True, **context: Any) -> Iterator[Page]:
    """The wall, as somebody sees it who has just logged in; ``errors`` tells whether those of the console count."""
    with quiet_page(browser, url, errors, **context) as page:
        log_in(page, user)
        page.wait_for_selector(".is-running")
        yield page


def log_in(page: Page, user: str) -> None:
    page.goto("/login")
    page.fill("[name=name]", user)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")


def shows(page: Page, camera: str, sequence: int) -> None:
    """Waits until the page shows this frame or a later one of a camera."""
    page.wait_for_function(
        '([camera, least]) => Number(document.querySelector(`[data-camera="${camera}"]`).dataset.sequence) >= least',
        arg=[camera, sequence],
        timeout=PATIENCE_MS,
    )


def state(page: Page, camera: str) -> Any:
    return page.locator(f'[data-camera="{camera}"] [data-state-text]')


def test_pictures_change_and_boxes_lie_where_the_detector_saw_something(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    with wall_of(browser, live.house.url, "anna") as page:
        places = []
        for left, top in ((16, 32), (208, 112)):
            sequence = live.send(cameras["gate"], left, top)
            shows(page, "gate", sequence)
            seen = page.evaluate(SQUARE_AND_BOX, "gate")
            wanted = [left / WIDTH, top / HEIGHT, (left + SIDE) / WIDTH, (top + SIDE) / HEIGHT]
            assert seen["square"] == pytest.approx(wanted, abs=0.02)
            # The label makes it taller above, and may make it wider.
            assert seen["box"][0] == pytest.approx(wanted[0], abs=0.03)
            assert seen["box"][3] == pytest.approx(wanted[3], abs=0.03)
            assert seen["box"][2] >= wanted[2] - 0.01
            places.append(seen["square"])
        assert places[0] != places[1]
        expect(state(page, "gate")).to_have_text("Live")
        expect(page.locator('[data-camera="gate"] [data-age]')).to_contain_text("captured")
        page.keyboard.press("b")
        assert page.evaluate(SQUARE_AND_BOX, "gate")["box"] == [1, 1, 0, 0], "none"
        page.keyboard.press("b")
        assert page.evaluate(SQUARE_AND_BOX, "gate")["box"] != [1, 1, 0, 0]


def test_a_silent_camera_is_shown_with_its_newest_picture_and_said_to_be_silent(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    with wall_of(browser, live.house.url, "anna") as page:
        expect(state(page, "cellar")).to_have_text("Silent", timeout=PATIENCE_MS)
        shows(page, "cellar", cameras["cellar"].sequence)
        box = page.evaluate(SQUARE_AND_BOX, "cellar")["box"]
        assert box[0] < box[2]
        first = page.locator('[data-camera="cellar"] [data-age]').inner_text()
        page.wait_for_function(
            "(first) => document.querySelector('[data-camera=\"cellar\"] [data-age]').innerText !== first", arg=first
        )


def test_a_page_shows_the_cameras_of_its_visitor_and_watches_those_alone(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    with wall_of(browser, live.house.url, "vera") as page:
        assert page.locator("[data-camera]").evaluate_all("all => all.map(of => of.dataset.camera)") == [
            "gate",
            "yard-a",
        ]
        with live.sending(cameras["gate"], cameras["yard-a"]):
            shows(page, "yard-a", cameras["yard-a"].sequence)
        said = page.evaluate("""() => new Promise((resolve) => {
            const socket = new WebSocket(location.origin.replace("http", "ws") + "/live");
            socket.onopen = () => socket.send(JSON.stringify({ watch: { cellar: 100 } }));
            socket.onclose = ({ code, reason }) => resolve([code, reason]);
        })""")
        assert said[0] == 4404
        assert "cellar" in said[1]


def test_tiles_that_are_not_shown_and_hidden_tabs_are_not_watched(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    with wall_of(browser, live.house.url, "vera") as page, live.sending(cameras["gate"], cameras["yard-a"]):
        shows(page, "yard-a", cameras["yard-a"].sequence)
        page.keyboard.press("1")
        expect(page.locator('[data-camera="yard-a"]')).to_be_hidden()
        shows(page, "gate", cameras["gate"].sequence + 1)
        until(page, lambda: not live.watched("yard-a"))
        assert live.watched("gate")
        hide(page, True)
        until(page, lambda: not live.watched("gate"))
        before = page.locator('[data-camera="gate"]').get_attribute("data-sequence")
        sent = cameras["gate"].sequence
        until(page, lambda: cameras["gate"].sequence > sent + 5)
        assert page.locator('[data-camera="gate"]').get_attribute("data-sequence") == before
        hide(page, False)
        shows(page, "gate", cameras["gate"].sequence)


def test_a_page_that_draws_nothing_is_sent_no_more_and_goes_on_with_the_newest(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    stuck = """() => {
        window.messages = [];
        window.slow = new WebSocket(location.origin.replace("http", "ws") + "/live");
        slow.binaryType = "arraybuffer";
        slow.onopen = () => slow.send(JSON.stringify({ watch: { gate: 240 } }));
        slow.onmessage = ({ data }) => {
            const length = new DataView(data).getUint32(0);
            messages.push(JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length))));
        };
    }"""
    with wall_of(browser, live.house.url, "vera") as page, live.sending(cameras["gate"]):
        page.evaluate(stuck)
        page.wait_for_function("() => messages.length === 16", timeout=PATIENCE_MS)
        sent = cameras["gate"].sequence
        shows(page, "gate", sent + 10)
        assert page.evaluate("messages.length") == 16
        page.evaluate("slow.send(JSON.stringify({ ack: 16 }))")
        page.wait_for_function("() => messages.length > 16", timeout=PATIENCE_MS)
        # What came meanwhile was passed over.
        assert page.evaluate("messages[16].frame.sequence") > sent
        page.evaluate("slow.close()")


def test_after_the_viewer_was_killed_the_page_says_so_and_comes_back_by_itself(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    with another_viewer(live) as viewer, wall_of(browser, viewer.url, "vera", errors=False) as page:
        shows(page, "gate", cameras["gate"].sequence)
        viewer.kill()
        expect(state(page, "gate")).to_have_text("No connection", timeout=PATIENCE_MS)
        expect(page.locator("[data-problem]")).to_be_visible()
        viewer.start()
        with live.sending(cameras["gate"]):
            shows(page, "gate", cameras["gate"].sequence + 3)
        expect(state(page, "gate")).to_have_text("Live")
        expect(page.locator("[data-problem]")).not_to_be_visible()


def test_a_wall_fits_a_phone_and_is_used_by_keys_alone(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    phone = {"viewport": PHONE, "device_scale_factor": 2, "color_scheme": "dark"}
    with wall_of(browser, live.house.url, "anna", **phone) as page:
        shows(page, "gate", cameras["gate"].sequence)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for key, shown in (("1", 1), ("2", 3), ("a", 3)):
            page.keyboard.press(key)
            assert page.locator("[data-camera]:visible").count() == shown
        page.keyboard.press("1")
        names = [page.locator("[data-camera]:visible .tile-name").inner_text()]
        for _ in range(2):
            page.keyboard.press("ArrowRight")
            names.append(page.locator("[data-camera]:visible .tile-name").inner_text())
        assert names == ["cellar", "gate", "yard-a"]
        page.locator("[data-camera]:visible [data-enlarge]").focus()
        page.keyboard.press("Enter")
        assert page.locator("[data-camera]:visible").count() == 3
        page.reload()
        page.wait_for_selector(".is-running")
        assert page.locator('[data-size="all"]').first.get_attribute("aria-pressed") == "true", "it is remembered"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out_of_the_wall(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera], scheme: str
) -> None:
    with wall_of(browser, live.house.url, "anna", color_scheme=scheme) as page:
        shows(page, "cellar", cameras["cellar"].sequence)
        assert what_keeps_people_out(page) == []


def test_without_scripts_the_page_shows_a_still_of_each_camera(
    browser: Browser, live: LiveHouse, cameras: dict[str, Camera]
) -> None:
    with quiet_page(browser, live.house.url, java_script_enabled=False) as page:
        log_in(page, "vera")
        page.wait_for_selector('img[alt="gate"]')
        stills = page.locator(".tile img")
        assert stills.count() == 2
        for still in stills.all():
            answer = page.request.get(still.get_attribute("src") or "")
            assert answer.headers["content-type"] == "image/jpeg"


def until(page: Page, holds: Any) -> None:
    for _ in range(PATIENCE_MS // 100):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it never came true")


def hide(page: Page, hidden: bool) -> None:
    """Has the page believe that its tab is in the background, or is not any more."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
