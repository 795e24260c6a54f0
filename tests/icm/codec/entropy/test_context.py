"""The context model: what is known of latents depends on those decoded before them and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.entropy.context import PHASES, ContextModel, ContextState, Expected
from icm.codec.latents.latents import LATENT_MAX
from icm.errors import BundleError

sides = st.integers(1, 6)


def surroundings(codec: Bundle, rows: int, columns: int) -> ContextState:
    """Of latents that the hyper-latents expect to be anything from -2 to 2."""
    shape = (codec.entropy.latent_channels, rows * columns)
    random = np.random.default_rng(4)
    means, indexes = random.integers(-16, 17, shape), random.integers(0, 64, shape)
    expected = Expected(means.astype(np.int32), indexes.astype(np.int32))
    return ContextState(codec.entropy.context, expected, rows, columns, level=2)


def walked(around: ContextState, values: NDArray[np.int32], steps: int) -> list[Expected]:
    """What is known before each of the steps, if the latents are these."""
    known = []
    for step in range(steps):
        known.append(around.expect(step))
        group, positions = around.places(step)
        around.learn(step, values[group][:, positions])
    return known


@settings(max_examples=20, deadline=None)
@given(sides, sides)
def test_the_steps_visit_every_latent_once(codec: Bundle, rows: int, columns: int) -> None:
    around = surroundings(codec, rows, columns)
    visits = np.zeros((codec.entropy.latent_channels, rows * columns), int)
    for step in range(len(codec.entropy.context)):
        group, positions = around.places(step)
        visits[group][:, positions] += 1
    assert (visits == 1).all()


@settings(max_examples=20, deadline=None)
@given(sides, sides, st.integers(0, 7), st.integers(0, 2**32), st.sampled_from([1, 9, LATENT_MAX]))
def test_what_is_not_decoded_yet_has_no_say(
    codec: Bundle, rows: int, columns: int, last: int, seed: int, spread: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (codec.entropy.latent_channels, rows * columns)
    one, other = (random.integers(-spread, spread + 1, shape).astype(np.int32) for _ in range(2))
    first = surroundings(codec, rows, columns)
    for step in range(last):
        group, positions = first.places(step)
        other[group][:, positions] = one[group][:, positions]
    before = walked(first, one, last + 1)[-1]
    after = walked(surroundings(codec, rows, columns), other, last + 1)[-1]
    assert (before.means == after.means).all()
    assert (before.indexes == after.indexes).all()


def test_what_is_decoded_has_a_say_next_door_and_no_further(codec: Bundle) -> None:
    rows, columns, there = 7, 9, (2, 2)
    calm = np.zeros((codec.entropy.latent_channels, rows * columns), np.int32)
    loud = calm.copy()
    loud[:, there[0] * columns + there[1]] = 40
    last = [walked(surroundings(codec, rows, columns), values, 8)[-1] for values in (calm, loud)]
    row, column = np.divmod(surroundings(codec, rows, columns).places(7)[1], columns)
    near = (np.abs(row - there[0]) <= 1) & (np.abs(column - there[1]) <= 1)
    differs = (last[0].indexes != last[1].indexes).any(0)
    assert differs[near].any()
    assert not differs[~near].any()


def test_networks_and_groups_that_do_not_fit_are_refused(codec: Bundle) -> None:
    model = codec.entropy.context
    groups = [model.order[model.group(step)] for step in range(0, len(model), PHASES)]
    with pytest.raises(BundleError, match="do not fit together"):
        ContextModel(model.networks[:-1], groups)
    with pytest.raises(BundleError, match="do not fit together"):
        ContextModel(model.networks, [*groups[:-1], groups[0]])
