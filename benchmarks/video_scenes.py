"""The clips of ``icm-bench video``, as they are and made harder on purpose: less often, noisy, shaken, at dusk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.video_codecs.base import Picture
from shared.errors import ConfigError

SLOW_FPS = 10
_SEED = 7


@dataclass(frozen=True)
class Scene:
    """A clip and what is looked at in it.

    Attributes:
        file: its name in the data's folder; truth: boxes of its persons, MOT Challenge text, where there is one.
        frames: how many are coded; every: the detector sees every so manieth.
        classes: of COCO, that a detector looks for: persons, or whatever drives as well.
    """

    file: str
    truth: str | None
    frames: int
    every: int
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Clip:
    """A scene as it is coded; truth by frame, float[K, 5]: class, left, top, right, bottom; None where nobody knows."""

    pictures: list[Picture]
    fps: int
    truth: dict[int, NDArray[np.float64]] | None


_PERSONS, _TRAFFIC = (0,), (0, 1, 2, 3, 5, 7)
SCENES = {
    "vtest": Scene("vtest.avi", "vtest_gt_mot15.txt", 400, 4, _PERSONS),
    "tud_campus": Scene("tud_campus.mp4", "tud_campus_gt_mot15.txt", 71, 2, _PERSONS),
    "crossing": Scene("crossing.mp4", None, 240, 4, _TRAFFIC),
    "motorway": Scene("motorway_cctv.avi", None, 250, 5, _TRAFFIC),
}


def _noise(sigma: float) -> Callable[[list[Picture]], list[Picture]]:
    def noisy(pictures: list[Picture]) -> list[Picture]:
        random = np.random.default_rng(_SEED)
        return [_rounded(picture + sigma * random.standard_normal(picture.shape)) for picture in pictures]

    return noisy


def _shaken(pictures: list[Picture]) -> list[Picture]:
    """A mount in the wind: the picture swings by up to about two pixels."""
    random, place, result = np.random.default_rng(_SEED), np.zeros(2), []
    for picture in pictures:
        place = 0.6 * place + random.normal(0, 0.8, 2)
        result.append(_rounded(ndimage.shift(picture.astype(np.float32), (*place, 0), order=1, mode="nearest")))
    return result


def _dusk(pictures: list[Picture]) -> list[Picture]:
    """A third of the light, and the noise that a sensor makes of it."""
    random = np.random.default_rng(_SEED)
    return [_rounded(0.35 * picture + 4 * random.standard_normal(picture.shape)) for picture in pictures]


CONDITIONS: dict[str, Callable[[list[Picture]], list[Picture]]] = {
    "noise3": _noise(3),
    "noise8": _noise(8),
    "shake": _shaken,
    "dusk": _dusk,
}
SLOW = "slow"
"""The condition that leaves frames out, to about ten a second."""


def names() -> list[str]:
    """All scenes, and the hard ones of two: SCENE or SCENE:CONDITION."""
    hard = [f"{name}:{condition}" for name in ("vtest", "crossing") for condition in CONDITIONS]
    return [*SCENES, *(f"{name}:{SLOW}" for name in ("tud_campus", "crossing")), *hard]


def load(name: str, folder: Path) -> tuple[Scene, Clip]:
    """A scene, under a condition.

    Raises:
        ConfigError: there is no such scene or condition, or its file cannot be read.
    """
    base, _, condition = name.partition(":")
    if base not in SCENES or condition not in ("", SLOW, *CONDITIONS):
        raise ConfigError(
            f"there is no scene {name}: scenes are {', '.join(SCENES)}, conditions {SLOW} and {', '.join(CONDITIONS)}"
        )
    scene = SCENES[base]
    pictures, fps = _read(folder / scene.file, scene.frames)
    truth = None if scene.truth is None else _truth(folder / scene.truth)
    if condition == SLOW:
        step = max(1, round(fps / SLOW_FPS))
        pictures, fps = pictures[::step], round(fps / step)
        truth = None if truth is None else {frame // step: boxes for frame, boxes in truth.items() if frame % step == 0}
    elif condition:
        pictures = CONDITIONS[condition](pictures)
    return scene, Clip(pictures, fps, truth)


def _read(path: Path, count: int) -> tuple[list[Picture], int]:
    """The first frames of a clip, uint8[H, W, 3] RGB, and its rate."""
    if not path.exists():
        raise ConfigError(f"there is no clip {path}")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = round(float(stream.average_rate or 10))
        frames = []
        for frame in container.decode(stream):
            frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(frames) == count:
                break
    return frames, fps


def _truth(path: Path) -> dict[int, NDArray[np.float64]]:
    """Boxes of persons by frame number from 0; MOT text counts frames from 1."""
    boxes: dict[int, list[tuple[float, ...]]] = {}
    for line in path.read_text().splitlines():
        frame, _, left, top, width, height, counts = (float(value) for value in line.split(",")[:7])
        if counts:
            boxes.setdefault(int(frame) - 1, []).append((0, left, top, left + width, top + height))
    return {frame: np.array(found) for frame, found in boxes.items()}


def _rounded(picture: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
