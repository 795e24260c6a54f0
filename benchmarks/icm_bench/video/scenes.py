"""The clips of ``icm-bench video``, as they are and made harder on purpose: less often, noisy, shaken, at dusk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from icm.errors import ConfigError
from icm_bench.video.video_codecs.base import Picture

SLOW_FPS = 10
_SEED = 7


@dataclass(frozen=True)
class Scene:
    """A clip and what is looked at in it.

    Attributes:
        file: its name in the data's folder.
        truth: boxes of its persons, MOT Challenge text, where there is one.
        frames: how many are coded.
        every: the detector sees one frame in this many.
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


def _flickering(pictures: list[Picture]) -> list[Picture]:
    """Lamps: all light comes and goes by 3 %, out of step with the frames."""
    return [_rounded(picture * (1 + 0.03 * np.sin(2.1 * number))) for number, picture in enumerate(pictures)]


def _raining(pictures: list[Picture]) -> list[Picture]:
    """250 bright streaks in every frame, each 14 pixels long."""
    random, length, result = np.random.default_rng(_SEED), 14, []
    for picture in pictures:
        wet = picture.astype(np.float32)
        height, width = picture.shape[:2]
        tops, lefts = random.integers(0, height - length, 250), random.integers(0, width - 4, 250)
        for step in range(length):
            wet[tops + step, lefts + step // 6] += 60
        result.append(_rounded(wet))
    return result


def _panned(pictures: list[Picture]) -> list[Picture]:
    """The camera turns by two pixels a frame, back and forth over a sixth of the width; what is seen is narrower."""
    reach = pictures[0].shape[1] // 6
    starts = [abs((2 * number + reach) % (2 * reach) - reach) for number in range(len(pictures))]
    return [
        np.ascontiguousarray(picture[:, at : at - reach or None]) for at, picture in zip(starts, pictures, strict=True)
    ]


def _zoomed(pictures: list[Picture]) -> list[Picture]:
    """Steps of a zoom lens: 2 % nearer in each of ten frames of every thirty, then at rest, then back at once."""
    result = []
    for number, picture in enumerate(pictures):
        factor = 1 + 0.02 * min(number % 30, 10)
        height, width = picture.shape[:2]
        tall, wide = int(height / factor), int(width / factor)
        top, left = (height - tall) // 2, (width - wide) // 2
        near = Image.fromarray(picture[top : top + tall, left : left + wide])
        result.append(np.asarray(near.resize((width, height), Image.Resampling.BICUBIC), np.uint8))
    return result


def emptied(pictures: list[Picture]) -> list[Picture]:
    """The place without whatever moves in it: each pixel's median over the clip, under the noise that the clip has."""
    every = np.stack(pictures[:: max(1, len(pictures) // 100)])
    background = np.median(every, axis=0)
    apart = np.abs(np.diff(every[:: max(1, len(every) // 10)].astype(np.int16), axis=0))
    # Of the differences of two frames; what moves is in the upper half of them.
    deviation = float(np.median(apart[apart > 0])) / 0.6745 / np.sqrt(2) if apart.any() else 0.0
    random = np.random.default_rng(_SEED)
    return [_rounded(background + deviation * random.standard_normal(background.shape)) for _ in pictures]


CONDITIONS: dict[str, Callable[[list[Picture]], list[Picture]]] = {
    "noise3": _noise(3),
    "noise8": _noise(8),
    "shake": _shaken,
    "dusk": _dusk,
    "flicker": _flickering,
    "rain": _raining,
    "pan": _panned,
    "zoom": _zoomed,
}
HARD = ("noise3", "noise8", "shake", "dusk")
"""Those that are measured with a detector."""
SLOW = "slow"
"""The condition that leaves frames out, to about ten a second."""


def names() -> list[str]:
    """All scenes, and the hard ones of two: SCENE or SCENE:CONDITION."""
    hard = [f"{name}:{condition}" for name in ("vtest", "crossing") for condition in HARD]
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
    pictures, fps = read_clip(folder / scene.file, scene.frames)
    truth = None if scene.truth is None else read_truth(folder / scene.truth)
    if condition == SLOW:
        step = max(1, round(fps / SLOW_FPS))
        pictures, fps = pictures[::step], round(fps / step)
        truth = None if truth is None else {frame // step: boxes for frame, boxes in truth.items() if frame % step == 0}
    elif condition:
        pictures = CONDITIONS[condition](pictures)
    return scene, Clip(pictures, fps, truth)


def read_clip(path: Path, count: int) -> tuple[list[Picture], int]:
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


def read_truth(path: Path) -> dict[int, NDArray[np.float64]]:
    """Boxes of persons by frame number from 0; MOT text counts frames from 1."""
    boxes: dict[int, list[tuple[float, ...]]] = {}
    for line in path.read_text().splitlines():
        frame, _, left, top, width, height, counts = (float(value) for value in line.split(",")[:7])
        if counts:
            boxes.setdefault(int(frame) - 1, []).append((0, left, top, left + width, top + height))
    return {frame: np.array(found) for frame, found in boxes.items()}


def _rounded(picture: NDArray[np.float32]) -> Picture:
    picture8: Picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return picture8
