"""A real browser, Debian's Chromium, in which a page has to stay calm: no error in its console, no other host asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.debian_tools import environment, needed

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is left out where it is neither installed nor unpacked, but in CI."""
    script = needed("chromium")
    # Debian's is a script, which looks for the program below /usr.
    program = Path(script).parents[1] / "lib/chromium/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program if program.exists() else script,
            env=environment(),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        browser.close()


@contextmanager
def calm_page(context: BrowserContext, *allowed: str) -> Iterator[Page]:
    """A page that fails the test with an error in its console, an exception, or a request to elsewhere.

    Args:
        allowed: how addresses of requests may begin.
    """
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(allowed) else said.append(request.url))
    try:
        yield page
    finally:
        page.close()
    assert said == [], said


@contextmanager
def quiet_page(browser: Browser, url: str, errors: bool = True, **context: Any) -> Iterator[Page]:
    """A page of a browser that nobody used. At the end nothing may have gone wrong in it, nor been asked of others.

    Args:
        url: of the site that it may ask.
        errors: whether an error in the console counts; not where its site goes away, which browsers write there.
        context: playwright's options of a context.
    """
    of: BrowserContext = browser.new_context(base_url=url, **context)
    page = of.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if errors and message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    own = (url, url.replace("http", "ws", 1), "blob:", "data:")
    page.on("request", lambda request: None if request.url.startswith(own) else said.append(request.url))
    page.on("websocket", lambda socket: None if socket.url.startswith(own) else said.append(socket.url))
    try:
        yield page
    finally:
        of.close()
    assert said == []


def what_keeps_people_out(page: Page) -> list[str]:
    """What axe finds of a page that is serious or worse, a line each."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found: list[dict[str, Any]] = page.evaluate("axe.run({resultTypes: ['violations']}).then((all) => all.violations)")
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['html'] for node in one['nodes'][:3]])}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
