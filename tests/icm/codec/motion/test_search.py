"""The encoder's search finds what moved, at the picture's border as well."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.latents.field import Field
from icm.codec.motion.search import OWN, Matching, brightness, candidates, most_common
from tests.icm.codec.motion.test_choice import texture


def positions_within(rows: int, columns: int, border: int) -> NDArray[np.int64]:
    numbers = np.arange(rows * columns).reshape(rows, columns)
    return numbers[border : rows - border, border : columns - border].ravel()


@pytest.mark.parametrize("vector", [(0, 0), (3, -5), (-16, 7), (31, 30), (-1, -34)])
def test_a_picture_that_moved_as_a_whole_is_found(vector: tuple[int, int]) -> None:
    down, right = vector
    wide = texture(160 + 80, 320 + 80, 3)
    reference = wide[40:200, 40:360]
    source = wide[40 + down : 200 + down, 40 + right : 360 + right]
    matching = Matching(brightness(source), brightness(reference))
    found = matching.found(positions_within(10, 20, 3))
    assert (found == np.array(vector)[:, None]).all(0).mean() > 0.9
    assert most_common(found) == vector


def test_beyond_the_border_the_picture_goes_on_as_it_ends() -> None:
    plain = np.full((64, 64, 3), 90, np.uint8)
    matching = Matching(brightness(plain), brightness(plain))
    assert (matching.found(np.arange(16)) == 0).all()
    tried = candidates(matching, np.arange(16), Field.without_motion(np.zeros((4, 4), bool)))
    assert tried.shape == (2, 8, 16)
    assert (tried[:, OWN] == 0).all()


def test_brightness_of_a_linear_picture_is_that_of_the_picture() -> None:
    picture = texture(32, 48, 4)
    linear = ((picture.astype(np.float64) - 127.5) * 16).astype(np.int16)
    assert np.abs(brightness(linear) - brightness(picture)).max() <= 1
