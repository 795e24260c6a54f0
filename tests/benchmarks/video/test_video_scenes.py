"""The clips of ``icm-bench video``: as they are, and made harder in ways that are the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icm.errors import ConfigError
from icm_bench.video import scenes
from icm_bench.video.scenes import CONDITIONS, Scene, load, names
from tests.clips import write_clip

FRAMES, FPS = 12, 10


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one clip, at ten frames a second, and the boxes of one person in each frame."""
    pictures = [np.full((48, 64, 3), 100 + frame, np.uint8) for frame in range(FRAMES)]
    for picture in pictures:
        picture[16:32, 24:40] = 200
    write_clip(tmp_path / "walk.mkv", pictures)
    lines = [f"{frame},1,{frame},2,10,20,1,-1,-1,-1" for frame in range(1, FRAMES + 1)]
    (tmp_path / "walk.txt").write_text("\n".join([*lines, "3,2,50,2,10,20,0,-1,-1,-1"]))
    monkeypatch.setattr(scenes, "SCENES", {"walk": Scene("walk.mkv", "walk.txt", 10, 2, (0,))})
    return tmp_path


def test_a_scene_has_its_first_frames_and_the_boxes_that_count(data: Path) -> None:
    _, clip = load("walk", data)
    assert (len(clip.pictures), clip.fps) == (10, FPS)
    assert clip.truth is not None
    assert clip.truth[2].tolist() == [[0, 3, 2, 13, 22]]


def test_fewer_frames_keep_the_boxes_of_those_that_are_left(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SLOW_FPS", 5)
    _, clip = load("walk:slow", data)
    assert (len(clip.pictures), clip.fps) == (5, 5)
    assert clip.truth is not None
    assert clip.truth[2].tolist() == [[0, 5, 2, 15, 22]]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_is_the_same_every_time_and_not_the_clip_as_it_was(data: Path, condition: str) -> None:
    once, again, plain = (load(name, data)[1].pictures for name in (f"walk:{condition}",) * 2 + ("walk",))
    assert all((one == other).all() for one, other in zip(once, again, strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(once, plain, strict=True))


def test_noise_is_as_strong_as_it_says(data: Path) -> None:
    noisy, plain = (load(name, data)[1].pictures[0].astype(float) for name in ("walk:noise8", "walk"))
    assert (noisy - plain).std() == pytest.approx(8, rel=0.05)


def test_a_scene_that_nobody_knows_is_named(data: Path) -> None:
    for name in ("street", "walk:fog"):
        with pytest.raises(ConfigError, match=f"there is no scene {name}: scenes are walk, conditions slow and noise3"):
            load(name, data)


def test_every_name_is_a_scene() -> None:
    assert {name.partition(":")[0] for name in names()} == set(scenes.SCENES)
