"""The payload of a P record with motion.

First comes the frame's field of modes and vectors, which with the reference gives a prediction of every latent; then,
at the positions whose mode says so, the differences from it. All is integer arithmetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import check_spent, coder_of, new_coder, payload_of
from icm.codec.entropy.residuals import DifferenceModel, ResidualContext
from icm.codec.latents.field import Field
from icm.codec.latents.latents import Latents
from icm.codec.motion.coding import FieldTables, pop_field, push_field
from icm.codec.motion.linear_path import LinearPath, LinearSynthesis
from icm.codec.motion.prediction import Prediction, predict
from icm.codec.motion.reference import Reference
from icm.codec.predict.skip import RD_LAMBDA

FLAGS = 2
"""How many flags of a position the networks see: whether it has a difference, and whether it has vectors."""


class MotionModel:
    """What both ends must agree on to code a frame after another, with motion."""

    def __init__(
        self,
        path: LinearPath,
        differences: DifferenceModel,
        tables: FieldTables,
        search: LinearSynthesis | None = None,
    ) -> None:
        """Creates the model.

        Args:
            search: gives a picture as like the camera's as a linear one can be, in which an encoder finds vectors; None
                for the path's own. No record decodes by it.
        """
        self.path, self.differences, self.tables = path, differences, tables
        self.search = search or path

    def encode(self, target: NDArray[np.int16], field: Field, reference: Reference, level: int) -> bytes:
        """Codes a frame given its reference.

        Args:
            target: int16[M, h, w], what to code; what ``field`` predicts wherever that has no difference.
            level: the quality level whose biases hold.

        Returns:
            The payload.
        """
        said, coder = predict(self.path, field, reference), new_coder()
        self.differences.push(coder, self.surroundings(said.values, field), target, said.values, level, said.eighths)
        push_field(coder, field, reference.field, reference.foreground, self.tables)
        return payload_of(coder)

    def encode_chosen(
        self, wanted: NDArray[np.float32], field: Field, said: Prediction, reference: Reference, level: int
    ) -> tuple[bytes, NDArray[np.int16]]:
        """Codes a frame given its reference, differences chosen by rate and distortion.

        Args:
            wanted: float32[M, h, w], latents in quantisation steps, not rounded.
            said: what ``field`` predicts.

        Returns:
            The payload, and the latents that it decodes to, int16[M, h, w].
        """
        coder, values = new_coder(), said.values.copy()
        surroundings = self.surroundings(said.values, field)
        values[:, field.coded] = self.differences.push_chosen(
            coder, surroundings, wanted, said.values, level, said.eighths, RD_LAMBDA
        )
        push_field(coder, field, reference.field, reference.foreground, self.tables)
        return payload_of(coder), values

    def decode(self, payload: bytes, like: Latents, reference: Reference, level: int) -> Latents:
        """The latents of a payload; arguments as in ``encode``, ``like`` gives quality and size.

        Raises:
            RecordError: the payload does not decode to latents of such a frame.
        """
        coder = coder_of(payload)
        field = pop_field(coder, reference.field, reference.foreground, self.tables)
        said = predict(self.path, field, reference)
        values = said.values
        there = self.differences.pop(coder, self.surroundings(values, field), values, level, said.eighths)
        check_spent(coder)
        values[:, field.coded] = there
        hyper = np.zeros((like.hyper.shape[0], 0, 0), np.int8)
        alone = Latents(values, hyper, field.updated, like.quality, like.width, like.height)
        return alone.after(field, reference.memory)

    def surroundings(self, prediction: NDArray[np.int16], field: Field) -> ResidualContext:
        """What the networks of differences see of a frame."""
        return ResidualContext(self.differences.channels, prediction, field.coded, [field.coded, field.has_motion])
