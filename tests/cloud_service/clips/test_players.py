"""A clip that begins between two key frames, in players: they show the frames of the stretch, and none before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.cloud_service.clips.test_cutting import cut, every, piece
from tests.debian_tools import environment, needed


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From 3.5 s to 4.8 s after a key frame, of ten frames a second; the first five are darker than the others."""
    target = tmp_path_factory.mktemp("clip") / "clip.mp4"
    cut(target, [piece(every(100_000, 0, 5_000_000))], 3_500_000, 4_800_000)
    return target


def test_ffmpeg_decodes_the_frames_of_the_stretch_alone(clip: Path) -> None:
    program = needed("ffmpeg")
    command = [
        program,
        "-v",
        "error",
        "-i",
        clip,
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        "gray",
        "-f",
        "rawvideo",
        "-",
    ]
    shown = subprocess.run(command, check=True, capture_output=True, env=environment()).stdout
    assert len(shown) == 13 * 48 * 32
    levels = [shown[number * 48 * 32] for number in range(13)]
    assert len(set(levels[:5])) == 1, "of the fourth second"
    assert min(levels[5:]) > max(levels[:5]), "of the fifth"


_LOOK = """
async (times) => {
  const video = document.querySelector("video"), canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  const seen = [];
  for (const time of times) {
    await new Promise((resolve) => { video.onseeked = resolve; video.currentTime = time; });
    pen.drawImage(video, 0, 0);
    seen.push(pen.getImageData(20, 16, 1, 1).data[0]);
  }
  return seen;
}
"""


def test_chromium_shows_it_from_its_first_frame_on_and_as_long_as_it_is(clip: Path) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_content("<input type=file><video muted></video>")
        page.set_input_files("input", clip)
        page.evaluate(
            "() => new Promise((resolve, reject) => { const video = document.querySelector('video');"
            " video.onloadeddata = resolve; video.onerror = () => reject(video.error.message);"
            " video.src = URL.createObjectURL(document.querySelector('input').files[0]); })"
        )
        assert page.evaluate("document.querySelector('video').duration") == pytest.approx(1.3, abs=2e-3)
        first, before, after, last = page.evaluate(_LOOK, [0.01, 0.45, 0.55, 1.25])
    assert first == pytest.approx(before, abs=2), "of the fourth second, and not of the key frame's"
    assert first == pytest.approx(50, abs=4)
    assert after == pytest.approx(last, abs=2)
    assert after == pytest.approx(60, abs=4)
