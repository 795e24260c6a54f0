"""The float context model as the integer one that ships."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from shared.codec.context import INPUT_MAX, NO_CHANGE, ContextModel, Expected, Surroundings
from shared.codec.integer_network import ACTIVATION_MAX, MEAN_STEPS, IntegerNetwork
from training.context_model import ContextNetwork, ContextNetworks
from training.entropy_model import ACTIVATION_STEPS
from training.integer_network import IntegerLayer, build_graph, integer_layer


def graphs(networks: ContextNetworks) -> list[bytes]:
    """The ONNX graph of each step's network.

    Raises:
        BundleError: a partial sum could leave the range in which float32 is exact.
    """
    return [build_graph(_layers(network)).SerializeToString() for network in networks.networks]  # type: ignore[arg-type]


def context_model(graphs: list[bytes], groups: list[list[int]]) -> ContextModel:
    """The integer model of these graphs."""
    return ContextModel([IntegerNetwork(graph, 0) for graph in graphs], [np.array(group) for group in groups])


def walk(
    model: ContextModel, values: NDArray[np.int32], expected: Expected, level: int
) -> Iterator[tuple[Expected, NDArray[np.int32]]]:
    """What is known of latents before each step, and what they are, int32[G, A].

    Args:
        values: int32[M, h, w]; expected: of the same latents, by the hyper-latents.
    """
    channels, rows, columns = values.shape
    means, indexes, latents = (
        array[model.order].reshape(channels, rows * columns) for array in (expected.means, expected.indexes, values)
    )
    surroundings = Surroundings(model, Expected(means, indexes), rows, columns, level)
    for step in range(len(model)):
        group, positions = surroundings.places(step)
        there = latents[group].take(positions, axis=1)
        yield surroundings.expect(step), there
        surroundings.learn(step, there)


def _layers(network: ContextNetwork) -> list[IntegerLayer]:
    levels = network.first_bias.shape[0]
    hidden = float(ACTIVATION_STEPS)
    # Corrections come out in 1/8 of a latent and in scale indexes, which lie around NO_CHANGE.
    outputs = torch.tensor((float(MEAN_STEPS), 8.0)).repeat_interleave(network.outputs)
    last_bias = network.last_bias.detach().clone()
    last_bias[:, network.outputs :] += NO_CHANGE / 8
    plain = [
        (network.first.weight, network.first_bias, 1.0, hidden, INPUT_MAX, True),
        (network.second.weight, network.second.bias.expand(levels, -1), hidden, hidden, ACTIVATION_MAX, True),
        (network.last.weight, last_bias, hidden, outputs, ACTIVATION_MAX, False),
    ]
    return [
        integer_layer(
            weight[:, :, None, None], bias, scale_in, scale_out, largest, upsample=False, clip=clip, padded=False
        )
        for weight, bias, scale_in, scale_out, largest, clip in plain
    ]
