"""The frame inspector in a real browser, of a real viewer beside a real cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import icm
from tests.browser import quiet_page
from tests.cloud_service.viewer.live.conftest import HEIGHT, SIDE, WIDTH, LiveHouse
from tests.cloud_service.viewer.live.test_wall import log_in

PATIENCE_MS = 30_000
LEFT, TOP = 160, 48
DRAWN = """(name) => {
  const canvas = document.querySelector(`[data-${name}]`);
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (data[4 * (y * width + x) + 3] > 128) {
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return [left / width, top / height, right / width, bottom / height];
}"""


@pytest.fixture(scope="module")
def path(live: LiveHouse) -> str:
    """Of the second of three frames."""
    camera = live.camera("gate")
    second = live.send(camera, LEFT, TOP)
    live.send(camera, 16)
    frame = icm.FrameId("gate", 1, second)
    with icm.CloudClient(f"127.0.0.1:{live.cloud_port}") as cloud:
        cloud.inspect(frame)
    return f"/cameras/gate/frame/1/{second}"


@contextmanager
def inspected(browser: Browser, live: LiveHouse, path: str, **context: Any) -> Iterator[Page]:
    with quiet_page(browser, live.house.url, **context) as page:
        log_in(page, "vera")
        page.wait_for_load_state()
        page.goto(path)
        yield page


def test_a_frame_is_shown_with_its_record_its_bits_and_what_was_found(
    browser: Browser, live: LiveHouse, path: str
) -> None:
    with inspected(browser, live, path) as page:
        # The detector may have come by only now.
        for _ in range(100):
            if page.get_by_text("Boxes of square (1)").count():
                break
            page.wait_for_timeout(100)
            page.reload()
        record = page.locator("main")
        expect(record).to_contain_text("inter with motion, after frame")
        expect(record).to_contain_text(f"{HEIGHT} pixels")
        # Until the picture is there, the layers over it have no size.
        page.wait_for_function("document.querySelector('[data-boxes]').width > 0")
        left, _, right, bottom = page.evaluate(DRAWN, "boxes")
        # Around the square, with its label above it.
        assert (left * WIDTH, right * WIDTH) == pytest.approx((LEFT, LEFT + SIDE), abs=40)
        assert bottom * HEIGHT == pytest.approx(TOP + SIDE, abs=6)
        page.keyboard.press("b")
        assert page.evaluate(DRAWN, "boxes") == [1, 1, 0, 0]
        page.keyboard.press("v")
        left, _, right, _ = page.evaluate(DRAWN, "bits")
        assert 0 <= left * WIDTH <= LEFT
        assert (right - left) * WIDTH < WIDTH, "what did not change took no bits"
        page.locator("[data-boxes]").hover(position={"x": LEFT + 8, "y": TOP + 8})
        expect(page.locator("[data-told]")).to_contain_text("bits in the block at")


def test_the_slider_shows_one_decoder_beside_the_other(browser: Browser, live: LiveHouse, path: str) -> None:
    with inspected(browser, live, path) as page:
        over = page.locator(".inspected-over")
        shown = "(element) => getComputedStyle(element).clipPath"
        assert over.evaluate(shown).startswith("inset(0px 0px 0px 0")
        page.locator("[data-split]").focus()
        for _ in range(5):
            page.keyboard.press("PageUp")
        assert "50%" in over.evaluate(shown)
        expect(page.locator("[data-split]")).to_have_attribute("aria-valuetext", "base up to 50 % of the width")


def test_keys_step_from_frame_to_frame(browser: Browser, live: LiveHouse, path: str) -> None:
    before, after = (f"{path.rpartition('/')[0]}/{int(path.rpartition('/')[2]) + step}" for step in (-1, 1))
    with inspected(browser, live, path) as page:
        page.keyboard.press(".")
        page.wait_for_url(f"**{after}", timeout=PATIENCE_MS)
        page.keyboard.press(",")
        page.wait_for_url(f"**{path}", timeout=PATIENCE_MS)
        page.keyboard.press(",")
        page.wait_for_url(f"**{before}", timeout=PATIENCE_MS)


def test_the_picture_as_a_file_holds_the_decoders_very_pixels(live: LiveHouse, path: str) -> None:
    visit = live.house.logged_in("vera")
    frame = icm.FrameId("gate", 1, int(path.rpartition("/")[2]))
    with icm.CloudClient(f"127.0.0.1:{live.cloud_port}") as cloud:
        wanted = cloud.frame(frame).image
    answer = visit.get(f"{path}/picture.png")
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(BytesIO(answer.content))), wanted)
    base = visit.get(f"{path}/picture.png?decoder=base")
    assert not np.array_equal(np.asarray(Image.open(BytesIO(base.content))), wanted)
    assert visit.get(f"{path}/picture.jpg").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("below", "status"),
    [
        ("gate/frame/1/999999", 404),
        ("gate/frame/1/0x1", 404),
        ("gate/frame/-1/1", 404),
        ("gate/frame/99999999999999999999/1", 404),
        ("gate/frame/1/%D9%A1", 404),
        ("cellar/frame/1/1", 404),
        ("gate/frame/1/1/picture.jpg?decoder=best", 400),
    ],
)
def test_what_is_not_there_is_said_so(live: LiveHouse, path: str, below: str, status: int) -> None:
    answer = live.house.logged_in("vera").get(f"/cameras/{below}")
    assert answer.status_code == status
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_keeps_people_out(browser: Browser, live: LiveHouse, path: str, scheme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    with inspected(browser, live, path, color_scheme=scheme, viewport=size) as page:
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_frame_and_its_facts_are_there(browser: Browser, live: LiveHouse, path: str) -> None:
    with inspected(browser, live, path, java_script_enabled=False) as page:
        expect(page.locator(".inspected-over")).to_be_visible()
        expect(page.locator("main")).to_contain_text("bits a pixel")
        expect(page.locator("[data-split]")).to_be_hidden()
