"""The README's pictures of the viewer: ``python -m deploy.demo.screenshots``.

A real edge plays the demo's clip over and over to a real cloud, and a real browser looks at the viewer beside it.
Needs playwright and a chromium, of the system or playwright's own.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from deploy.demo.clip import cut, measure
from deploy.demo.play import Stage
from deploy.demo.progress import CAMERA
from deploy.demo.viewer import USER, Viewer, start_viewer
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import IcmError
from icm.testing import assets
from icm.testing.processes import Service

MOST_BYTES = 300_000
_VIEWPORT = {"width": 1280, "height": 800}
_PATIENCE_MS = 300_000
_LEAST_QUALITY = 40


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder for them (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=90.0, help="of the past to have first (default: %(default)s)")
    parser.add_argument("--fps", type=float, default=1.0, help="of the clip; fewer where the wall says that it is late")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_take(Path(folder), options.out, options.seconds, options.fps))
    except asyncio.CancelledError:
        print("interrupted; all services have ended", file=sys.stderr)
        return 130
    except IcmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _take(folder: Path, out: Path, seconds: float, fps: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    # A plain kill must take the services along, as Ctrl-C does.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    weights = assets.fetch(assets.WEIGHTS, assets.CACHE, _say)
    clip = cut(measure(assets.fetch_clip(assets.CACHE, _say)), folder / "clip.mkv", None, fps)
    stage = Stage(clip, DEFAULT_BUNDLE, weights, folder, 3.0, "cpu")
    async with AsyncExitStack() as cleanup:
        cloud = Service("icm-cloud", stage.cloud_settings(), folder)
        cleanup.callback(cloud.kill)
        ports = await cloud.listening()
        viewer = await start_viewer(ports, stage.cloud_settings(), folder)
        cleanup.callback(viewer.service.kill)
        settings = stage.edge_settings(ports)
        settings["cameras"][0]["source"]["loop"] = True
        edge = Service("icm-edge", settings, folder)
        cleanup.callback(edge.kill)
        await edge.listening()
        _say(f"waiting for {seconds:.0f} s of the past")
        await asyncio.sleep(seconds)
        browser = await _browser(cleanup)
        page = await _logged_in(browser, viewer)
        await _wall(page)
        # The strip of sightings is below what a screen shows.
        _save(await page.screenshot(full_page=True), out / "viewer-wall.webp")
        await _camera(page)
        _save(await page.screenshot(), out / "viewer-camera.webp")
        for service in (edge, cloud, viewer.service):
            service.check()


async def _browser(cleanup: AsyncExitStack) -> Browser:
    playwright = await cleanup.enter_async_context(async_playwright())
    browser = await playwright.chromium.launch(
        executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
    )
    cleanup.push_async_callback(browser.close)
    return browser


async def _logged_in(browser: Browser, viewer: Viewer) -> Page:
    options: dict[str, Any] = {"viewport": _VIEWPORT, "locale": "en-GB", "color_scheme": "light"}
    page = await browser.new_page(base_url=viewer.url, **options)
    page.set_default_timeout(_PATIENCE_MS)
    await page.goto("/login")
    await page.fill("[name=name]", USER)
    await page.fill("[name=password]", viewer.password)
    await page.press("[name=password]", "Enter")
    return page


async def _wall(page: Page) -> None:
    """The wall with a picture in which something was found, and sightings below."""
    await page.wait_for_selector(f'[data-camera="{CAMERA}"][data-state="live"]')
    await page.wait_for_function("() => document.querySelectorAll('.strip li').length > 3")
    await _pictures(page, ".strip img")
    await page.wait_for_function(
        "() => { const tile = document.querySelector('[data-camera]');"
        " return tile.dataset.state === 'live' && Number(tile.dataset.sequence) > 0; }"
    )


async def _camera(page: Page) -> None:
    """The page of the camera at a sighting that is stored."""
    await page.goto("/search?class=person&score=0.6")
    await page.locator(".sighting a").nth(8).click()
    await page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    await _pictures(page, "main img")
    await page.wait_for_load_state("networkidle")


async def _pictures(page: Page, selector: str) -> None:
    """Waits until what can be seen of some pictures is there."""
    await page.wait_for_function(
        "(selector) => [...document.querySelectorAll(selector)].every((image) => image.complete"
        " || image.getBoundingClientRect().left > innerWidth)",
        arg=selector,
    )


def _save(png: bytes, path: Path) -> None:
    """As WebP, as good as a page may be heavy."""
    with Image.open(io.BytesIO(png)) as image:
        for quality in range(90, _LEAST_QUALITY - 1, -10):
            packed = io.BytesIO()
            image.save(packed, "WEBP", quality=quality, method=6)
            if packed.tell() <= MOST_BYTES:
                break
    path.write_bytes(packed.getvalue())
    _say(f"{path}: {packed.tell()} bytes, quality {quality}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
