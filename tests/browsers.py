"""A real browser: Debian's Chromium, by playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.debian_tools import environment, path_of


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Starts it; the test is left out where it is not there."""
    script = path_of("chromium")
    if script is None:
        reason = "needs chromium: make tools"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
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
