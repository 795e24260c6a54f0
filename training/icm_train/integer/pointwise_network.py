"""The float form of the networks that see columns of whole numbers: those of the context and of the temporal model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from icm.codec.entropy.integer_network import ACTIVATION_MAX, MEAN_STEPS
from icm.codec.entropy.neighbourhood import INPUT_MAX
from icm_train.integer.grid import ACTIVATION_STEPS, SCALE_LOG_STEP, SCALE_MIN, quantised_relu
from icm_train.integer.network import IntegerLayer, build_graph, integer_layer

HIDDEN = 128
_INDEX_STEPS = 8.0
"""Scale indexes per 1.0 of the float network."""


class PointwiseNetwork(nn.Module):
    """Columns float32[A, K] (whole numbers) and levels int64[A] -> means and scale indexes, [A, G] each.

    Activations are on the integer network's grid already. An untrained network says 0 to everything.
    """

    def __init__(self, inputs: int, outputs: int, levels: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.first = nn.Linear(inputs, HIDDEN, bias=False)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, 2 * outputs, bias=False)
        self.first_bias = nn.Parameter(torch.full((levels, HIDDEN), 0.5))
        self.last_bias = nn.Parameter(torch.zeros(levels, 2 * outputs))
        with torch.no_grad():
            self.first.weight.mul_(0.3)
        nn.init.zeros_(self.last.weight)

    def start_from(self, std: Tensor) -> None:
        """Sets the scale biases from measured deviations, float32[levels, G]."""
        index = (std.clamp_min(SCALE_MIN).log() - math.log(SCALE_MIN)) / SCALE_LOG_STEP
        with torch.no_grad():
            self.last_bias[:, self.outputs :] = index / _INDEX_STEPS

    def forward(self, seen: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        x = quantised_relu(self.first(seen) + self.first_bias[levels])
        x = quantised_relu(self.second(x))
        x = (self.last(x) + self.last_bias[levels]).float()
        means, indexes = x.split(self.outputs, 1)
        return means, indexes * _INDEX_STEPS


def graph(network: PointwiseNetwork, first_index: int = 0) -> bytes:
    """The ONNX graph of the integer form.

    Args:
        first_index: what the integer network says for a scale index of 0.

    Raises:
        BundleError: a partial sum could leave the range in which float32 is exact.
    """
    return build_graph(_layers(network, first_index)).SerializeToString()


def _layers(network: PointwiseNetwork, first_index: int) -> list[IntegerLayer]:
    levels = network.first_bias.shape[0]
    hidden = float(ACTIVATION_STEPS)
    outputs = torch.tensor((float(MEAN_STEPS), _INDEX_STEPS)).repeat_interleave(network.outputs)
    last_bias = network.last_bias.detach().clone()
    last_bias[:, network.outputs :] += first_index / _INDEX_STEPS
    plain: list[tuple[Tensor, Tensor, float, float | Tensor, int, bool]] = [
        (network.first.weight, network.first_bias, 1.0, hidden, INPUT_MAX, True),
        (network.second.weight, network.second.bias.expand(levels, -1), hidden, hidden, ACTIVATION_MAX, True),
        (network.last.weight, last_bias, hidden, outputs, ACTIVATION_MAX, False),
    ]
    return [
        integer_layer(weight[:, :, None, None], bias, scale_in, scale_out, largest, upsample=False, clip=clip)
        for weight, bias, scale_in, scale_out, largest, clip in plain
    ]
