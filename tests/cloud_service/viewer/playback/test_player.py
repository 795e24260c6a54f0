"""The player and its timeline in a real browser, as somebody uses them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud_service.database.usage import Tier
from tests.browser import DESK, PHONE, chromium, quiet_page, what_keeps_people_out
from tests.cloud_service.viewer.house import PASSWORD
from tests.cloud_service.viewer.playback.past import (
    AFTER,
    BEFORE,
    COUNTS,
    HEIGHT,
    SIDE,
    WIDTH,
    Past,
    at,
    capture_us,
    square,
)

PATIENCE_MS = 20_000
CLOCK = "Date.parse(document.getElementById('clock').dateTime)"
STAGE = "document.querySelector('[data-stage]')"
SQUARE = f"""() => {{
  const video = {STAGE}.querySelector("video"), canvas = document.createElement("canvas");
  const [width, height] = [canvas.width, canvas.height] = [{WIDTH}, {HEIGHT}];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, width, height);
  const {{ data }} = context.getImageData(0, 0, width, height);
  let [left, top] = [width, height];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {{
    if (data[4 * (y * width + x)] < 140) continue;
    [left, top] = [Math.min(left, x), Math.min(top, y)];
  }}
  return [left, top];
}}"""
"""The left and top edge of the bright square in the video, which is drawn below the exact frame."""

SPRITE = """() => {
  const preview = document.querySelector(".preview");
  return !preview.hidden && preview.dataset.place !== undefined;
}"""
"""Whether a small picture is shown, as of any moment of a drag."""


@pytest.fixture(scope="module")
def browser(past: Past) -> Iterator[Browser]:
    """Begun after the services, and ended before: playwright has an event loop in this thread."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def cookies(browser: Browser, past: Past) -> Any:
    with quiet_page(browser, past.house.url) as page:
        page.goto("/login")
        page.fill("[name=name]", "anna")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/")
        return page.context.cookies()


@contextmanager
def shown(browser: Browser, past: Past, cookies: Any, path: str, **context: Any) -> Iterator[Page]:
    """A page for ``anna``; at its end nothing may have gone wrong in it."""
    with quiet_page(browser, past.house.url, **{"viewport": DESK, **context}) as page:
        page.context.add_cookies(cookies)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(path)
        yield page


def exact_frame(page: Page, camera: str = "gate") -> int:
    """Waits for the exact frame of a camera, and returns its number."""
    stage = page.locator(f'[data-stage="{camera}"][data-exact]')
    captured = stage.get_attribute("data-exact")
    assert captured is not None
    us = round(datetime.fromisoformat(captured).timestamp() * 1e6)
    return next(number for number in range(BEFORE + AFTER + 1) if capture_us(number) == us)


def is_exact(page: Page, number: int, camera: str = "gate") -> None:
    """Waits until this frame is shown exactly."""
    captured = at(number)
    expect(page.locator(f'[data-stage="{camera}"]')).to_have_attribute("data-exact", captured, timeout=PATIENCE_MS)


def note(page: Page) -> Any:
    return page.locator("[data-stage] .note")


def until_clock(page: Page, number: float) -> None:
    """Waits until the clock is at a frame or behind it."""
    page.wait_for_function(f"() => {CLOCK} >= {capture_us(int(number)) / 1000}")


def test_the_browser_plays_what_the_archive_holds(browser: Browser) -> None:
    page = browser.new_page()
    assert page.evaluate("""MediaSource.isTypeSupported('video/mp4; codecs="avc1.640015"')""")
    page.close()


@pytest.mark.parametrize("number", [41, BEFORE + 11], ids=["before a hole", "behind it"])
def test_it_shows_the_very_frame_of_a_time_and_boxes_where_the_detector_saw_something(
    browser: Browser, past: Past, cookies: Any, number: int
) -> None:
    with shown(browser, past, cookies, f"/cameras/gate?t={at(number + 0.7)}") as page:
        assert exact_frame(page) == number
        left, top = square(number)
        seen = page.evaluate(SQUARE)
        assert (abs(seen[0] - left) <= 3, abs(seen[1] - top) <= 3) == (True, True), (seen, left, top)
        link = page.locator("#exact")
        expect(link).to_have_attribute("href", f"/cameras/gate/frame/7/{number + 1}")
        canvas = page.locator(".boxes")
        expect(canvas).to_have_attribute("data-boxes", re.compile("person"))
        wide, tall = page.evaluate(
            "[document.querySelector('.boxes').clientWidth, document.querySelector('.boxes').clientHeight]"
        )
        zoom = min(wide / WIDTH, tall / HEIGHT)
        (_, x, y, width, height), *_ = json.loads(canvas.get_attribute("data-boxes") or "")
        wanted = [
            (wide - WIDTH * zoom) / 2 + left * zoom, (tall - HEIGHT * zoom) / 2 + top * zoom, SIDE * zoom, SIDE * zoom,
        ]  # fmt: skip
        assert all(abs(a - b) <= 2 * zoom + 1 for a, b in zip((x, y, width, height), wanted, strict=True))
        page.keyboard.press("b")
        expect(canvas).to_have_attribute("data-boxes", "")


def test_it_plays_on_behind_a_hole_by_the_clock_of_the_capture(browser: Browser, past: Past, cookies: Any) -> None:
    with shown(browser, past, cookies, f"/cameras/gate?t={at(BEFORE - 3)}") as page:
        is_exact(page, BEFORE - 3)
        page.keyboard.press(" ")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        until_clock(page, BEFORE + 2)
        page.keyboard.press(" ")
        number = exact_frame(page)
        assert BEFORE + 2 <= number < BEFORE + 20
        assert all(abs(a - b) <= 3 for a, b in zip(page.evaluate(SQUARE), square(number), strict=True))
        expect(page).to_have_url(re.compile(r"\?t=2026-09-21T14:14:5"))


def test_a_gap_is_told_and_left_by_playing(browser: Browser, past: Past, cookies: Any) -> None:
    middle = "2026-09-21T14:14:30Z"
    with shown(browser, past, cookies, f"/cameras/gate?t={middle}") as page:
        expect(note(page)).to_have_text(re.compile(r"^Nothing was recorded here\. Until .+, 30 s\.$"))
        page.keyboard.press(" ")
        until_clock(page, BEFORE + 1)
        expect(note(page)).to_be_hidden()


def test_what_was_deleted_says_why_and_what_lost_its_video_is_rendered(
    browser: Browser, past: Past, cookies: Any
) -> None:
    with shown(browser, past, cookies, f"/cameras/yard?t={at(5)}") as page:
        expect(note(page)).to_have_text(re.compile("^Deleted by a rule .*records older than 30 days"))
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expect(page.locator('[data-stage="yard"]')).to_have_attribute("data-exact", at(25), timeout=PATIENCE_MS)
        assert all(abs(a - b) <= 3 for a, b in zip(page.evaluate(SQUARE), square(25), strict=True))


def test_a_video_that_is_late_takes_nothing_away_of_what_a_gap_says(browser: Browser, past: Past, cookies: Any) -> None:
    with shown(browser, past, cookies, f"/cameras/yard?t={at(5)}", timezone_id="UTC") as page:
        expect(note(page)).to_have_text(re.compile("^Deleted by a rule"))
        page.fill("#goto", "2026-09-21T14:13:42")
        is_exact(page, 44, "yard")
        page.locator("#timeline").focus()
        page.keyboard.press("k")
        until_clock(page, 46)
        # To pause is to seek, and before the browser has answered, somebody is in the gap, whose words are known.
        page.evaluate("""() => new Promise((answered) => {
          const video = document.querySelector("[data-stage] video"), input = document.getElementById("goto");
          video.addEventListener("seeked", () => setTimeout(answered), { once: true });
          document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "k", bubbles: true }));
          input.value = "2026-09-21T14:13:22";
          input.dispatchEvent(new Event("change"));
        })""")
        expect(note(page)).to_have_text(re.compile("^Deleted by a rule"))
        expect(note(page)).to_be_visible()


def test_every_key_does_what_the_dialog_says(browser: Browser, past: Past, cookies: Any) -> None:
    with shown(browser, past, cookies, f"/cameras/gate?t={at(40)}") as page:
        is_exact(page, 40)
        for key, number in (
            *((".", 41), (",", 40), ("ArrowRight", 50), ("Shift+ArrowRight", 52), ("ArrowLeft", 42)),
            *(("Shift+ArrowLeft", 40), ("ArrowDown", 44), ("ArrowUp", 36)),
        ):
            page.keyboard.press(key)
            is_exact(page, number)
        page.keyboard.press("n")
        expect(note(page)).to_have_text(re.compile("Nothing was recorded"))
        span = "Number(document.getElementById('timeline').dataset.span)"
        before = page.evaluate(span)
        page.keyboard.press("+")
        page.wait_for_function(f"() => {span} === {before / 2}")
        page.keyboard.press("-")
        page.wait_for_function(f"() => {span} === {before}")
        for key, rate in (("l", ""), ("l", 2), ("l", 4), ("l", 8), ("j", -1), ("k", "")):
            page.keyboard.press(key)
            expect(page.locator("#rate")).to_have_text(f"{rate}\N{MULTIPLICATION SIGN}" if rate else "")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("Previous, next sighting")
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        expect(page).to_have_url(re.compile(r"/cameras/yard\?t="))
        page.keyboard.press("g")
        expect(page.locator("#goto")).to_be_focused()


def test_a_marked_stretch_leads_to_a_clip_an_export_and_a_hold(browser: Browser, past: Past, cookies: Any) -> None:
    with shown(browser, past, cookies, f"/cameras/gate?t={at(20)}") as page:
        page.keyboard.press("i")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("o")
        asked = "camera=gate&from=2026-09-21T14%3A13%3A30&to=2026-09-21T14%3A13%3A35"
        expect(page.get_by_role("link", name="Hold")).to_have_attribute("href", f"/holds?{asked}")
        with page.expect_download() as saved:
            page.get_by_role("link", name="Save clip").click()
        assert saved.value.suggested_filename == "gate-20260921T141330Z.mp4"
        page.keyboard.press("e")
        expect(page).to_have_url(re.compile("/exports"))
        expect(page.get_by_label("From (UTC)")).to_have_value("2026-09-21T14:13:30")


def test_who_drags_the_timeline_sees_small_pictures_and_goes_there(browser: Browser, past: Past, cookies: Any) -> None:
    with shown(browser, past, cookies, f"/cameras/gate?t={at(60)}") as page:
        is_exact(page, 60)
        for _ in range(2):
            page.keyboard.press("+")
        box = page.locator("#timeline").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + 60
        # Five minutes are shown: a tenth of the width is half a minute.
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + box["width"] / 15, y, steps=4)
        page.wait_for_function(SPRITE)
        page.mouse.move(x + box["width"] / 15 + 1, y)
        page.mouse.up()
        expect(page.locator(".preview")).to_be_hidden()
        assert abs(exact_frame(page) - 20) <= 2


CAMERA, WATCH = f"/cameras/gate?t={at(40)}", f"/watch?cameras=gate,yard&t={at(50)}"
DARK_PHONE = {"color_scheme": "dark", "viewport": PHONE, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(
    ("path", "look", "number"),
    [(CAMERA, {}, 40), ("/watch", {}, None), (CAMERA, DARK_PHONE, 40), (WATCH, DARK_PHONE, 50)],
    ids=["camera", "choice of cameras", "camera, dark, on a phone", "cameras, dark, on a phone"],
)
def test_nothing_keeps_people_out(
    browser: Browser, past: Past, cookies: Any, path: str, look: dict[str, Any], number: int | None
) -> None:
    with shown(browser, past, cookies, path, **look) as page:
        if number is not None:
            is_exact(page, number)
        assert what_keeps_people_out(page) == []
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_several_cameras_follow_one_playhead_each_with_its_own_gaps(browser: Browser, past: Past, cookies: Any) -> None:
    with shown(browser, past, cookies, f"/watch?cameras=gate,yard&t={at(COUNTS['yard'] - 4)}") as page:
        is_exact(page, COUNTS["yard"] - 4)
        is_exact(page, COUNTS["yard"] - 4, "yard")
        page.keyboard.press(" ")
        until_clock(page, COUNTS["yard"] + 2)
        page.keyboard.press(" ")
        assert exact_frame(page) >= COUNTS["yard"]
        expect(page.locator('[data-stage="yard"] .note')).to_have_text(re.compile("Nothing was recorded here"))
        page.keyboard.press("ArrowLeft")
        assert exact_frame(page) == exact_frame(page, "yard")


def test_what_is_deleted_while_it_plays_becomes_a_gap(browser: Browser, past: Past, cookies: Any) -> None:
    end = COUNTS["yard"]
    # The browser says that the video is not there any more; nothing else may go wrong.
    with quiet_page(browser, past.house.url, errors=False, viewport=DESK, timezone_id="UTC") as page:
        page.context.add_cookies(cookies)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"/cameras/yard?t={at(25)}")
        expect(page.locator('[data-stage="yard"]')).to_have_attribute("data-exact", at(25), timeout=PATIENCE_MS)
        past.delete("yard", end - 20, end, Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS)
        for _ in range(4):
            page.keyboard.press("l")
        until_clock(page, end)
        page.keyboard.press("k")
        page.fill("#goto", "2026-09-21T14:14:05")
        expect(note(page)).to_have_text(re.compile("^Deleted by a rule"))
        page.locator("#timeline").focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(page.locator('[data-stage="yard"]')).to_have_attribute("data-exact", at(70), timeout=PATIENCE_MS)
