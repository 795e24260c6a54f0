"""The background: what did not move for a while, whatever passes before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.latents.memory import REST, BackgroundMemory


def frame(value: int) -> NDArray[np.int16]:
    return np.full((2, 1, 2), value, np.int16)


def test_what_rests_is_remembered_after_a_while_and_what_moves_is_not() -> None:
    memory, updated = BackgroundMemory.of(frame(0)), np.array([[False, True]])
    for _ in range(REST - 1):
        memory = memory.after(frame(5), updated)
        assert (memory.values == 0).all()
    memory = memory.after(frame(5), updated)
    assert memory.values[:, 0, 0].tolist() == [5, 5]
    assert memory.values[:, 0, 1].tolist() == [0, 0]


def test_one_move_is_enough_to_be_left_out_until_the_next_time() -> None:
    memory, still = BackgroundMemory.of(frame(0)), np.zeros((1, 2), bool)
    memory = memory.after(frame(5), np.array([[False, True]]))
    for _ in range(REST - 1):
        memory = memory.after(frame(5), still)
    assert memory.differs(frame(5)).tolist() == [[False, True]]
    for _ in range(REST):
        memory = memory.after(frame(5), still)
    assert not memory.differs(frame(5)).any()


def test_a_frame_alone_remembers_itself() -> None:
    assert not BackgroundMemory.of(frame(7)).differs(frame(7)).any()
