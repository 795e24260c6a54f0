"""What a frame with motion leaves for the next one beside its latents, in an I record that takes its place.

That is its field, and the background as it is remembered: where it is not what the frame shows, differences from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import pop_number, push_number
from icm.codec.entropy.residuals import ResidualContext
from icm.codec.entropy.skip_map import Map, pop_map, push_map
from icm.codec.latents.field import Field
from icm.codec.latents.latents import Latents
from icm.codec.latents.memory import REST, BackgroundMemory
from icm.codec.motion.coding import pop_field, push_field
from icm.codec.motion.model import MotionModel
from icm.errors import RecordError


@dataclass(frozen=True)
class State:
    """What is known before the latents are.

    Attributes:
        field: of the frame.
        updated_since: of its ``BackgroundMemory``.
        count: of its ``BackgroundMemory``.
        foreground: bool[h, w], where that is not as the frame.
    """

    field: Field
    updated_since: Map
    count: int
    foreground: Map


def push_state(coder: Any, latents: Latents, model: MotionModel) -> None:
    """Pushes all but the remembered latents."""
    memory, still = latents.background, np.zeros_like(latents.updated)
    push_map(coder, memory.differs(latents.values), still, model.tables.skip_map_tables)
    push_map(coder, memory.updated_since, still, model.tables.skip_map_tables)
    push_number(coder, memory.count)
    push_field(coder, latents.field, Field.without_motion(still), still, model.tables)


def pop_state(coder: Any, still: Map, model: MotionModel) -> State:
    """What ``push_state`` pushed; still, a map in which nothing moved.

    Raises:
        RecordError: the stream holds no such state.
    """
    field = pop_field(coder, Field.without_motion(still), still, model.tables)
    count = pop_number(coder)
    if count >= REST:
        raise RecordError("the payload is damaged: the background is older than it can be")
    updated_since, foreground = (pop_map(coder, still, model.tables.skip_map_tables) for _ in range(2))
    return State(field, updated_since, count, foreground)


def push_memory(coder: Any, latents: Latents, model: MotionModel, level: int) -> None:
    """Pushes the remembered latents; level, whose biases hold."""
    memory = latents.background
    surroundings = _surroundings(latents.values, memory.differs(latents.values), model)
    model.differences.push(coder, surroundings, memory.values, latents.values, level)


def pop_memory(coder: Any, state: State, values: NDArray[np.int16], model: MotionModel, level: int) -> BackgroundMemory:
    """The background of a frame whose latents are int16[M, h, w].

    Raises:
        RecordError: the stream holds no such latents.
    """
    remembered = values.copy()
    surroundings = _surroundings(values, state.foreground, model)
    remembered[:, state.foreground] = model.differences.pop(coder, surroundings, values, level)
    return BackgroundMemory(remembered, state.updated_since, state.count)


def _surroundings(values: NDArray[np.int16], foreground: Map, model: MotionModel) -> ResidualContext:
    return ResidualContext(model.differences.channels, values, foreground, [foreground, np.zeros_like(foreground)])
