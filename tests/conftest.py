"""What tests of several folders share: the assets that were fetched, the bundle that is shipped, and clips."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.testing.assets import PEDESTRIANS, WEIGHTS
from tests.clips import CLIP_FRAMES, first_frames, pan_over_photo, write_clip
from tests.debian_tools import leave_out

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def hangups_reach_what_tests_start() -> Iterator[None]:
    """Under nohup this process ignores that its terminal is closed, and whatever it starts would inherit that; of a
    handler a new program inherits nothing.
    """
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def bundle() -> Path:
    """Folder of the shipped codec bundle."""
    return DEFAULT_BUNDLE


@pytest.fixture(scope="session")
def weights() -> Path:
    """The detector's weights; a test that needs them is left out where they were not fetched."""
    path = ROOT / ".cache" / WEIGHTS.path
    if not path.is_file():
        leave_out("needs the detector's weights: python -m icm.testing.assets --weights")
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 10 fps with people in them: the start of the demo's clip, or where that was not fetched, a photo of
    a bus and people that a camera pans over."""
    target = tmp_path_factory.mktemp("clip") / "clip.mkv"
    fetched = ROOT / ".cache" / PEDESTRIANS.path
    write_clip(target, first_frames(fetched) if fetched.is_file() else pan_over_photo())
    return target


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of 160x96 that are quick to code, each its own."""
    target = tmp_path_factory.mktemp("clip") / "small.mkv"
    column, row = np.meshgrid(np.arange(160), np.arange(96))
    ramp = np.stack((column, row, column + row), axis=-1)
    write_clip(target, [(ramp + 7 * index).astype(np.uint8) for index in range(CLIP_FRAMES)])
    return target
