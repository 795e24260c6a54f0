"""What is known already says what the definitions say: compiled code against a slow reading of them."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.latents.field import Field, Mode, has_vectors, is_split
from icm.codec.motion.coding import BEFORE, NEAR, NEXT, OTHER, ZERO, passes
from icm.codec.motion.known import MotionContext, VectorPredictors
from tests.icm.codec.motion.fields import fields

ROWS, COLUMNS = 5, 6
Vector = tuple[int, int]
Cells = dict[tuple[int, int], Vector]


def apart(one: Vector, other: Vector) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def cell(position: int, part: int) -> tuple[int, int]:
    row, column = divmod(position, COLUMNS)
    return 2 * row + part // 2, 2 * column + part % 2


def slow_guess(
    known: Cells, last: Cells, global_motion: Vector, position: int, part: int
) -> tuple[Vector, Vector, Vector, int, int]:
    top, left = cell(position, 0)
    row, column = cell(position, part)
    beside = [(row, column), (top, left - 1), (top - 1, left), (top, left + 2), (top + 2, left)]
    before = next((last[place] for place in beside if place in last), global_motion)
    if part:
        around = product(range(row - 1, row + 2), range(column - 1, column + 2))
        ring = [place for place in around if place != (row, column)]
    else:
        around = product(range(top - 1, top + 3), range(left - 1, left + 3))
        ring = [place for place in around if not (top <= place[0] < top + 2 and left <= place[1] < left + 2)]
    vectors = [known[place] for place in ring if place in known]
    near = after = before
    spread = 0
    if vectors:
        far = [sum(apart(one, other) for other in vectors) for one in vectors]
        near = after = vectors[far.index(min(far))]
        others = [(distance, one) for distance, one in zip(far, vectors, strict=True) if one != near]
        if others:
            after = min(others, key=lambda pair: pair[0])[1]
        widest = max(apart(near, one) for one in vectors)
        spread = 1 if widest == 0 else 2 if widest <= 2 else 3
    context = ((spread * 2 + (near == before)) * 2 + (near == (0, 0))) * 2 + (part > 0)
    return near, after, before, spread, context


def of(guess: VectorPredictors, number: int) -> tuple[Vector, Vector, Vector, int, int]:
    near, after, before = (
        (int(each[0, number]), int(each[1, number])) for each in (guess.near, guess.next, guess.before)
    )
    return near, after, before, int(guess.spread[number]), int(guess.context[number])


def slow_choice(vector: Vector, guess: tuple[Vector, Vector, Vector, int, int]) -> int:
    for choice, guessed in ((NEAR, guess[0]), (NEXT, guess[1]), (BEFORE, guess[2]), (ZERO, (0, 0))):
        if vector == guessed:
            return choice
    return OTHER


@settings(max_examples=60, deadline=None)
@given(fields(ROWS, COLUMNS), fields(ROWS, COLUMNS), st.integers(0, 2**32))
def test_guesses_and_choices_are_as_defined_at_every_step(field: Field, last: Field, seed: int) -> None:
    moved_before = last.has_motion.repeat(2, 0).repeat(2, 1)
    before: Cells = {
        place: (int(last.vectors[(0, *place)]), int(last.vectors[(1, *place)]))
        for place in product(range(2 * ROWS), range(2 * COLUMNS))
        if moved_before[place]
    }
    foreground = np.random.default_rng(seed).random((ROWS, COLUMNS)) < 0.3
    known, slow = MotionContext(last, field.global_motion, foreground), Cells()
    for positions in passes(field.updated):
        modes = field.modes.ravel()[positions].astype(np.int64)
        known.learn_modes(positions, modes)
        for part in range(4):
            here = positions[is_split(modes) if part else has_vectors(modes)]
            if part == 1:
                known.split(here)
                for position, other in product(here.tolist(), range(1, 4)):
                    slow.pop(cell(position, other))
            vectors = np.array([field.vectors[(slice(None), *cell(position, part))] for position in here.tolist()])
            vectors = vectors.reshape(-1, 2).T.astype(np.int64)
            guess, symbols = known.guess(here, part), known.choices(here, part, vectors)
            for number, position in enumerate(here.tolist()):
                expected = slow_guess(slow, before, field.global_motion, position, part)
                assert of(guess, number) == expected
                vector = int(vectors[0, number]), int(vectors[1, number])
                offset = vector[0] - expected[0][0], vector[1] - expected[0][1]
                coded = (slow_choice(vector, expected), expected[4], *offset, expected[3])
                assert tuple(symbols[:, number].tolist()) == coded
            known.learn(here, part, vectors)
            for number, position in enumerate(here.tolist()):
                for other in (part,) if part else range(4):
                    slow[cell(position, other)] = int(vectors[0, number]), int(vectors[1, number])
    again = known.field()
    assert (again.modes == field.modes).all()
    assert (again.vectors == field.vectors).all()
    assert again.global_motion == field.global_motion


@settings(max_examples=60, deadline=None)
@given(fields(ROWS, COLUMNS), fields(ROWS, COLUMNS), st.integers(0, 2**32))
def test_a_modes_table_is_as_defined(field: Field, last: Field, seed: int) -> None:
    foreground = np.random.default_rng(seed).random((ROWS, COLUMNS)) < 0.3
    known = MotionContext(last, field.global_motion, foreground)
    modes = np.zeros((ROWS + 2, COLUMNS + 2), np.int64)
    for positions in passes(field.updated):
        contexts = known.mode_contexts(positions)
        for position, context in zip(positions.tolist(), contexts.tolist(), strict=True):
            row, column = divmod(position, COLUMNS)
            around = modes[row : row + 3, column : column + 3]
            has_motion, coded = min(int(has_vectors(around).sum()), 3), min(int((around & 1).sum()), 2)
            from_background = bool((around >= Mode.BACKGROUND).any())
            kind = [0, 1, 2, 3, 2, 3, 4, 4][last.modes[row, column]]
            expected = (((kind * 4 + has_motion) * 3 + coded) * 2 + from_background) * 2 + foreground[row, column]
            assert context == expected
        here = field.modes.ravel()[positions].astype(np.int64)
        known.learn_modes(positions, here)
        modes[1 + positions // COLUMNS, 1 + positions % COLUMNS] = here
