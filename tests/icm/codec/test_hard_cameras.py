"""Cameras that are noisy, flicker, stand in the rain, shake, turn or zoom: what that may cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bitstream.record import Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame, Encoder
from icm_bench.video.scenes import CONDITIONS
from tests.icm.codec.motion.test_choice import texture

Picture = NDArray[np.uint8]
LEVEL, FRAMES = 2, 16
SETTLED = 8
"""Frames after which a camera's noise is known."""


@pytest.fixture(scope="module")
def scene() -> Picture:
    return texture(160, 320, 5) // 2 + 60


def coded(codec: Bundle, pictures: list[Picture]) -> list[CodedFrame]:
    encoder = Encoder(codec)
    return [encoder.encode(picture, LEVEL) for picture in pictures]


def bits(frames: list[CodedFrame]) -> float:
    return float(np.mean([len(frame.payload) for frame in frames]))


@pytest.mark.parametrize("condition", ["noise3", "noise8", "flicker"])
def test_what_is_no_motion_costs_next_to_nothing(codec: Bundle, scene: Picture, condition: str) -> None:
    first, *following = coded(codec, CONDITIONS[condition]([scene] * FRAMES))
    assert all(frame.kind is Kind.P for frame in following)
    assert bits(following[SETTLED:]) < 0.05 * len(first.payload)


def turned(scene: Picture) -> list[Picture]:
    return CONDITIONS["pan"]([scene] * FRAMES)


def shaken(scene: Picture) -> list[Picture]:
    return CONDITIONS["shake"]([scene] * FRAMES)


def rained_on(scene: Picture) -> list[Picture]:
    return CONDITIONS["rain"]([scene] * FRAMES)


def zoomed(scene: Picture) -> list[Picture]:
    return CONDITIONS["zoom"]([scene] * FRAMES)


@pytest.mark.parametrize("moving", [turned, shaken, zoomed, rained_on])
def test_a_camera_that_moves_or_is_rained_on_costs_less_than_coding_each_frame_anew(
    codec: Bundle, scene: Picture, moving: Callable[[Picture], list[Picture]]
) -> None:
    first, *following = coded(codec, moving(scene))
    assert bits(following) < 0.6 * len(first.payload)


def test_a_scene_that_has_nothing_of_the_last_one_is_coded_alone(codec: Bundle, scene: Picture) -> None:
    *_, last = coded(codec, [scene, scene, texture(160, 320, 9)])
    assert last.kind is Kind.I
