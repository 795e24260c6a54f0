"""The payload of a P record with motion.

First comes the frame's field of modes and vectors, which with the reference gives a prediction of every latent; then,
at the positions whose mode says so, the differences from it. All is integer arithmetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.codec.differences import DifferenceModel, Surroundings
from shared.codec.latents import Latents
from shared.codec.motion.coding import FieldTables, pop_field, push_field
from shared.codec.motion.field import Field
from shared.codec.motion.linear_path import EIGHTHS, LinearPath
from shared.codec.motion.prediction import predicted
from shared.codec.motion.reference import Reference
from shared.codec.symbols import check_spent, coder_of, new_coder, payload_of

FLAGS = 2
"""How many flags of a position the networks see: whether it has a difference, and whether it has vectors."""


class MotionModel:
    """What both ends must agree on to code a frame after another, with motion."""

    def __init__(self, path: LinearPath, differences: DifferenceModel, tables: FieldTables) -> None:
        self.path, self.differences, self.tables = path, differences, tables

    def encode(self, target: NDArray[np.int16], field: Field, reference: Reference, level: int) -> bytes:
        """Codes a frame given its reference.

        Args:
            target: int16[M, h, w], what to code; what ``field`` predicts wherever that has no difference.
            level: the quality level whose biases hold.

        Returns:
            The payload.
        """
        prediction, eighths = predict(self.path, field, reference)
        coder = new_coder()
        self.differences.push(coder, self.surroundings(prediction, field), target, prediction, level, eighths)
        push_field(coder, field, reference.field, reference.covered, self.tables)
        return payload_of(coder)

    def decode(self, payload: bytes, like: Latents, reference: Reference, level: int) -> Latents:
        """The latents of a payload; arguments as in ``encode``, ``like`` gives quality and size.

        Raises:
            RecordError: the payload does not decode to latents of such a frame.
        """
        coder = coder_of(payload)
        field = pop_field(coder, reference.field, reference.covered, self.tables)
        prediction, eighths = predict(self.path, field, reference)
        surroundings = self.surroundings(prediction, field)
        there = self.differences.pop(coder, surroundings, prediction, level, eighths)
        check_spent(coder)
        prediction[:, field.coded] = there
        hyper = np.zeros((like.hyper.shape[0], 0, 0), np.int8)
        alone = Latents(prediction, hyper, field.moved, like.quality, like.width, like.height)
        return alone.after(field, reference.memory)

    def surroundings(self, prediction: NDArray[np.int16], field: Field) -> Surroundings:
        """What the networks of differences see of a frame."""
        return Surroundings(self.differences.channels, prediction, field.coded, [field.coded, field.travelled])


def predict(path: LinearPath, field: Field, reference: Reference) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """What a field says about a frame's latents.

    Returns:
        int16[M, h, w], and what was rounded off at the coded positions, int32[M, A] in eighths of a step.
    """
    prediction = np.where(field.uncovered, reference.memory.values, reference.latents)
    left = np.zeros(prediction.shape, np.int8)
    travelled = field.travelled
    if travelled.any():
        rows, columns = np.nonzero(travelled)
        vectors = field.vectors_of(rows, columns)
        eighths = predicted(path, reference.picture, rows, columns, vectors, reference.quality)
        whole = (eighths + EIGHTHS // 2) // EIGHTHS
        prediction[:, travelled] = whole
        left[:, travelled] = eighths - EIGHTHS * whole
    return prediction, left[:, field.coded].astype(np.int32)
