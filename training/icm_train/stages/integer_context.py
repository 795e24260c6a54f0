"""The float context model as the integer one that ships."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from icm.codec.entropy.context import NO_CHANGE, ContextModel, ContextState, Expected
from icm.codec.entropy.integer_network import IntegerNetwork
from icm_train.integer.pointwise_network import graph
from icm_train.models.context_model import ContextNetworks


def graphs(networks: ContextNetworks) -> list[bytes]:
    """The ONNX graph of each step's network.

    Raises:
        BundleError: a partial sum could leave the range in which float32 is exact.
    """
    return [graph(network, NO_CHANGE) for network in networks.networks]  # type: ignore[arg-type]


def context_model(graphs: list[bytes], groups: list[list[int]]) -> ContextModel:
    """The integer model of these graphs."""
    return ContextModel([IntegerNetwork(graph, 0) for graph in graphs], [np.array(group) for group in groups])


def walk(
    model: ContextModel, values: NDArray[np.int32], expected: Expected, level: int
) -> Iterator[tuple[Expected, NDArray[np.int32]]]:
    """What is known of latents before each step, and what they are, int32[G, A].

    Args:
        values: int32[M, h, w].
        expected: of the same latents, by the hyper-latents.
    """
    channels, rows, columns = values.shape
    means, indexes, latents = (
        array[model.order].reshape(channels, rows * columns) for array in (expected.means, expected.indexes, values)
    )
    surroundings = ContextState(model, Expected(means, indexes), rows, columns, level)
    for step in range(len(model)):
        group, positions = surroundings.places(step)
        there = latents[group].take(positions, axis=1)
        yield surroundings.expect(step), there
        surroundings.learn(step, there)
