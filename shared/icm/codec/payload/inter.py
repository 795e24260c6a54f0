"""The payload of a P record without motion: the latents that moved since the reference, in integer arithmetic only.

First comes the map of moved positions, then at those the differences from the reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.coder import check_spent, coder_of, new_coder, payload_of
from icm.codec.entropy.residuals import DifferenceModel, ResidualContext
from icm.codec.entropy.skip_map import CONTEXTS, Map, pop_map, push_map
from icm.codec.entropy.tables import Tables
from icm.codec.latents.latents import Latents
from icm.errors import BundleError


class InterEntropyModel:
    """What both ends must agree on to code a frame after another."""

    def __init__(self, differences: DifferenceModel, skip_map_tables: Tables) -> None:
        """Creates the model from its parts.

        Args:
            skip_map_tables: one per context of the skip map: see ``skip_map.contexts``.

        Raises:
            BundleError: the tables are not as many as the contexts.
        """
        self.differences, self.skip_map_tables = differences, skip_map_tables
        if len(skip_map_tables) != CONTEXTS:
            raise BundleError(f"{len(skip_map_tables)} frequency tables of movement do not fit {CONTEXTS} contexts")

    def encode(self, target: Latents, reference: NDArray[np.int16], last: Map, level: int) -> bytes:
        """Codes a frame given its reference.

        Args:
            target: what to code; equal to the reference wherever its ``updated`` is false.
            reference: int16[M, h, w].
            last: bool[h, w], what moved in the reference's own frame.
            level: the quality level whose biases hold.

        Returns:
            The payload.
        """
        surroundings = self.surroundings(reference, target.updated)
        coder = new_coder()
        self.differences.push(coder, surroundings, target.values, reference, level)
        push_map(coder, target.updated, last, self.skip_map_tables)
        return payload_of(coder)

    def decode(self, payload: bytes, like: Latents, reference: NDArray[np.int16], last: Map, level: int) -> Latents:
        """The latents of a P record's payload; arguments as in ``encode``, ``like`` gives quality and size.

        Raises:
            RecordError: the payload does not decode to latents of such a frame.
        """
        coder = coder_of(payload)
        updated = pop_map(coder, last, self.skip_map_tables)
        there = self.differences.pop(coder, self.surroundings(reference, updated), reference, level)
        check_spent(coder)
        decoded = reference.copy()
        decoded[:, updated] = there
        hyper = np.zeros((like.hyper.shape[0], 0, 0), np.int8)
        return Latents(decoded, hyper, updated, like.quality, like.width, like.height)

    def surroundings(self, reference: NDArray[np.int16], updated: Map) -> ResidualContext:
        """What the networks of differences see of a frame."""
        return ResidualContext(self.differences.channels, reference, updated, [updated])
