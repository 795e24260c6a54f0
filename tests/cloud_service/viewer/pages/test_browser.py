"""The viewer's pages in a real browser: no error, nobody else asked, and nothing that keeps people out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import DESK, PHONE, calm_page, chromium, what_keeps_people_out
from tests.cloud_service.viewer.house import PASSWORD, House

PAGES = (
    *("/", "/cameras", "/account", "/about", "/health"),
    *("/admin/users", "/admin/users/vera", "/admin/tokens", "/admin/audit"),
)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": DESK},
    "dark": {"color_scheme": "dark", "viewport": DESK},
    "phone": {"color_scheme": "light", "viewport": PHONE, "has_touch": True},
}
SMALL = """[...document.querySelectorAll(
  "button, .button, input:not([type=hidden], [type=checkbox]), select, .check, header a"
)].filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 43.5)
  .map((each) => each.outerHTML.slice(0, 80))"""
"""What a finger presses and would miss."""
SHOTS = os.environ.get("ICM_SCREENSHOTS")
"""A folder to leave pictures of the pages in, for who wants to look at them."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def cookies(browser: Browser, house: House) -> list[Any]:
    """Of a session that began with the form, as a person fills it in."""
    context = browser.new_context()
    with calm_page(context, house.url) as page:
        page.goto(f"{house.url}/account")
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{house.url}/account")
    found: list[Any] = context.cookies()
    context.close()
    return found


@pytest.fixture
def context(browser: Browser, cookies: list[Any]) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.add_cookies(cookies)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, house: House) -> Iterator[Page]:
    with calm_page(context, house.url) as page:
        yield page


def shoot(page: Page, look: str, path: str) -> None:
    if SHOTS:
        name = path.strip("/").replace("/", "-") or "wall"
        page.screenshot(path=Path(SHOTS) / f"{name}-{look}.png", full_page=True)


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_keeps_people_out(browser: Browser, house: House, cookies: list[Any], look: str) -> None:
    found = []
    stranger, known = browser.new_context(**LOOKS[look]), browser.new_context(**LOOKS[look])
    known.add_cookies(cookies)
    for context, paths in ((stranger, ("/login",)), (known, PAGES)):
        with calm_page(context, house.url) as page:
            for path in paths:
                page.goto(house.url + path)
                found += [f"{path}: {line}" for line in what_keeps_people_out(page)]
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                found += [f"{path} is {wide} pixels too wide"] if wide > 0 else []
                if look == "phone":
                    found += [f"{path}: {what} is too small to be pressed" for what in page.evaluate(SMALL)]
                shoot(page, look, path)
    stranger.close()
    known.close()
    assert found == []


def test_by_keyboard_the_content_is_one_jump_away_and_keys_are_told(page: Page, house: House) -> None:
    page.goto(house.url)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).not_to_be_visible()
    page.goto(f"{house.url}/admin/users")
    page.get_by_label("Name").press("?")
    expect(page.get_by_label("Name")).to_have_value("?")
    expect(page.get_by_role("dialog", name="Keys")).not_to_be_visible()


def test_times_are_those_of_the_browsers_zone_and_utc_is_told(
    browser: Browser, house: House, cookies: list[Any]
) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    context.add_cookies(cookies)
    with calm_page(context, house.url) as page:
        page.goto(f"{house.url}/cameras")
        time = page.locator("tr", has_text="gate").locator("time")
        expect(time).to_have_text("21/09/2026, 23:13:20")
        expect(time).to_have_attribute("title", "2026-09-21 14:13:20 UTC")
    context.close()


def test_light_or_dark_is_chosen_and_kept(page: Page, house: House) -> None:
    page.goto(house.url)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate(colour)
    assert light != dark
    page.goto(f"{house.url}/about")
    assert page.evaluate(colour) == dark


def test_without_scripts_one_can_log_in_look_and_log_out(browser: Browser, house: House) -> None:
    context = browser.new_context(java_script_enabled=False)
    with calm_page(context, house.url) as page:
        page.goto(f"{house.url}/cameras")
        page.get_by_label("Name").fill("vera")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("row", name="yard-1")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_text("You are logged out.")).to_be_visible()
    context.close()


def test_a_script_that_gets_into_a_page_is_not_run(context: BrowserContext, house: House) -> None:
    page = context.new_page()
    page.goto(house.url)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'document.title = \"ran\"';"
        " document.body.append(script)"
    )
    assert page.title() != "ran"
    assert any("Content Security Policy" in text for text in said)
    page.close()
