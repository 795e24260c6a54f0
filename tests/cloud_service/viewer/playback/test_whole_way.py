"""The whole way of somebody who looks into something: searched, watched, inspected, held, exported, and checked."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from playwright.sync_api import Browser, expect

from icm.client.cloud import CloudClient
from icm.command.cli import main
from tests.browser import DESK, chromium, quiet_page
from tests.cloud_service.viewer.house import PASSWORD
from tests.cloud_service.viewer.playback.past import BEFORE, Past, at

PATIENCE_MS = 60_000
CLOCK = "Date.parse(document.getElementById('clock').dateTime)"
DAY = "2026-09-21"


def test_from_something_that_was_seen_to_a_file_that_proves_it(past: Past, bundle: Path, tmp_path: Path) -> None:
    with chromium() as browser:
        case = tmp_path / "case.zip"
        fetch_case(browser, past, case)
    # Anybody with the file and the codec can check it, without the archive.
    assert main(["verify", str(case), "--bundle", str(bundle)]) == 0
    said = json.loads(zipfile.ZipFile(case).read("case.json"))
    assert said["case"] == "a car where none may be"
    assert [camera["name"] for camera in said["cameras"]] == ["gate"]
    with CloudClient(f"127.0.0.1:{past.app.port}") as cloud:
        (hold,) = cloud.holds()
        assert (hold.owner, hold.cameras, hold.reason) == ("anna", ("gate",), "a car where none may be")
        cloud.release_hold(hold.id, by="anna")


def fetch_case(browser: Browser, past: Past, case: Path) -> None:
    with quiet_page(browser, past.house.url, viewport=DESK, accept_downloads=True) as page:
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/login")
        page.fill("[name=name]", "anna")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/")

        # One that lasts: behind the very last there is nothing to play.
        page.goto(f"/search?camera=gate&class=car&from={DAY}T14:00:00&to={DAY}T14:15:19")
        page.locator(".sighting a").first.click()
        page.wait_for_url("**/cameras/gate?t=*")

        exact = page.locator('[data-stage="gate"]')
        expect(exact).to_have_attribute("data-exact", re.compile(f"^{DAY}T14:"))
        begun = page.evaluate(CLOCK)
        page.keyboard.press("Space")
        page.wait_for_function(f"() => {CLOCK} > {begun + 1000}")
        page.keyboard.press("k")
        expect(exact).to_have_attribute("data-exact", re.compile(f"^{DAY}T14:"))

        page.locator("#exact").click()
        page.wait_for_url("**/cameras/gate/frame/7/*")
        expect(page.locator("h1")).to_contain_text("gate")
        page.go_back()

        page.goto(f"/cameras/gate?t={at(BEFORE + 20)}")
        expect(exact).to_have_attribute("data-exact", at(BEFORE + 20))
        page.keyboard.press("i")
        page.keyboard.press("ArrowRight")
        expect(exact).to_have_attribute("data-exact", at(BEFORE + 30))
        page.keyboard.press("o")
        marked = page.url

        page.get_by_role("link", name="Hold", exact=True).click()
        page.wait_for_url("**/holds?*")
        expect(page.get_by_label("gate")).to_be_checked()
        page.get_by_label("Why").fill("a car where none may be")
        page.get_by_role("button", name="Hold").click()
        expect(page.locator(".flash")).to_contain_text("was added")

        page.goto(marked)
        expect(exact).to_have_attribute("data-exact", re.compile(f"^{DAY}T14:"))
        page.keyboard.press("i")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("o")
        page.keyboard.press("e")
        page.wait_for_url("**/exports?*")
        page.get_by_label("What the case is about").fill("a car where none may be")
        page.get_by_role("button", name="Export").click()
        page.wait_for_selector('[data-export-state="done"]')
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        download.value.save_as(case)
