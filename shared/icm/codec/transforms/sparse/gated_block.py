"""A gated block at chosen positions, and the scales and shifts by which networks know the quality level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.transforms.sparse.layers import RowNetwork, read_weights
from icm.codec.transforms.sparse.planes import Plane, dilated

GATE_MAX = 2.0
"""What a gate is clipped at; part of the architecture."""
_SAMPLED = 512
"""Positions that a block's usual gates and values are taken from."""

Named = Callable[[str], NDArray[np.float32]]


class GatedRows:
    """y = x + scale * out(clip(gate(m), 0, 2) * value(m)) at chosen positions, m the 3x3 depthwise mix of x, or x.

    Safe to call from several threads.
    """

    def __init__(self, named: Named, block: str, threads: int, *, mixes: bool) -> None:
        """Creates the block from its weights.

        Args:
            named: the network's weights by name.
            block: the block's name there.
            threads: CPU threads of one call; 0 for one per core.
            mixes: whether the block has a depthwise convolution.
        """
        from onnx import TensorProto, helper

        self.taps = 9 if mixes else 1
        self._gate, self._value, out = (_matrix(named(f"{block}.{name}.weight")) for name in ("gate", "value", "out"))
        scale = named(f"{block}.scale").reshape(-1)
        self._out = out * scale
        self._biases = [named(f"{block}.{name}.bias") for name in ("gate", "value")]
        width = len(scale)
        constants: dict[str, NDArray[Any]] = {
            "gate": self._gate, "value": self._value, "out": self._out,
            "gate_bias": self._biases[0], "value_bias": self._biases[1],
            "out_bias": named(f"{block}.out.bias") * scale,
            "least": np.array(0, np.float32), "most": np.array(GATE_MAX, np.float32),
            "centre": np.array(self.taps // 2, np.int64),
        }  # fmt: skip
        nodes = [
            helper.make_node("Gather", ["source", "index"], ["gathered"]),
            helper.make_node("Gather", ["gathered", "centre"], ["x"], axis=1),
        ]
        mixed = "x"
        self._kernel: NDArray[np.float32] | None = None
        if mixes:
            kernel = named(f"{block}.mix.weight")
            self._kernel = np.ascontiguousarray(kernel.reshape(width, 9).T)
            self._mix_bias = named(f"{block}.mix.bias")
            constants |= {"kernel": self._kernel, "mix_bias": self._mix_bias, "taps": np.array([1], np.int64)}
            nodes += [
                helper.make_node("Mul", ["gathered", "kernel"], ["weighted"]),
                helper.make_node("ReduceSum", ["weighted", "taps"], ["summed"], keepdims=0),
                helper.make_node("Add", ["summed", "mix_bias"], ["mixed"]),
            ]
            mixed = "mixed"
        nodes += [
            helper.make_node("Gemm", [mixed, "gate", "gate_bias"], ["a"]),
            helper.make_node("Clip", ["a", "least", "most"], ["opened"]),
            helper.make_node("Gemm", [mixed, "value", "value_bias"], ["b"]),
            helper.make_node("Mul", ["opened", "b"], ["passed"]),
            helper.make_node("Gemm", ["passed", "out", "out_bias"], ["added"]),
            helper.make_node("Add", ["x", "added"], ["y"]),
        ]
        inputs = [
            helper.make_tensor_value_info("source", TensorProto.FLOAT, ["positions", width]),
            helper.make_tensor_value_info("index", TensorProto.INT64, ["rows", self.taps]),
        ]
        self._network = RowNetwork(nodes, inputs, "y", width, constants, threads)

    def __call__(self, source: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """source float32[P, C], index int64[n, taps] -> float32[n, C]."""
        return self._network(source, index)

    def follow(self, source: Plane, target: Plane) -> None:
        """Computes the target's features where its source changed, or where that is near by."""
        mask = dilated(source.changed) if self.taps > 1 else source.changed
        positions = source.grid.positions(mask)
        around = source.grid.around if self.taps > 1 else np.zeros(1, np.int64)
        target.update(positions, self(source.rows, positions[:, None] + around))

    def influence(self, after: NDArray[np.float32], source: Plane) -> NDArray[np.float32]:
        """How much of a pixel's variance a unit of variance in each feature before the block makes: float32[C].

        Gates and values differ from place to place, so their mean squares at some positions of the source are taken.

        Args:
            after: the same of each feature after the block.
        """
        everywhere = source.grid.positions(source.grid.everything())
        chosen = everywhere[:: max(1, len(everywhere) // _SAMPLED)]
        mixed = source.rows[chosen]
        spread = np.ones(len(after), np.float32)
        if self._kernel is not None:
            neighbours = source.rows[chosen[:, None] + source.grid.around]
            mixed = (neighbours * self._kernel).sum(1) + self._mix_bias
            spread = np.square(self._kernel).sum(0)
        a, b = (mixed @ m + bias for m, bias in zip((self._gate, self._value), self._biases, strict=True))
        gate = np.square(a.clip(0, GATE_MAX)).mean(0)
        value = np.square(b * ((a > 0) & (a < GATE_MAX))).mean(0)
        inner = np.square(self._out) @ after
        branch = np.square(self._gate) @ (value * inner) + np.square(self._value) @ (gate * inner)
        result: NDArray[np.float32] = after + spread * branch
        return result


class LevelRows:
    """The scale and shift of each feature at a quality level; none in a network that does not know the level."""

    def __init__(self, stored: Mapping[str, NDArray[np.float32]], name: str, width: int) -> None:
        """Creates the scale from its weights.

        Args:
            stored: the network's weights by name.
            name: of the scale there.
            width: how many features it scales.
        """
        none = np.zeros((1, width), np.float32)
        self._log_scale, self._shift = (stored.get(f"{name}.{part}", none) for part in ("log_scale", "shift"))

    def at(self, levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and shift, float32[C] each, for the shares of whole levels, float32[levels]."""
        shares = levels if len(self._shift) == len(levels) else np.ones(1, np.float32)
        return np.exp(shares @ self._log_scale), shares @ self._shift


def is_gated(model: Path) -> bool:
    """Whether the transform in this file is made of gated blocks; raises BundleError: it is no network."""
    return "blocks_wide.0.gate.weight" in read_weights(model)


def gated_blocks(stored: Mapping[str, NDArray[np.float32]], named: Named, stride: str, threads: int) -> list[GatedRows]:
    """The blocks of one stride, such as "blocks_wide", in their order."""
    named(f"{stride}.0.gate.weight")  # at least one, or the network is of another architecture
    count = sum(1 for name in stored if name.startswith(f"{stride}.") and name.endswith(".gate.weight"))
    return [
        GatedRows(named, f"{stride}.{n}", threads, mixes=f"{stride}.{n}.mix.weight" in stored) for n in range(count)
    ]


def through(blocks: list[GatedRows], planes: list[Plane]) -> None:
    """Follows what changed in the first plane through the blocks; one plane before the first and one after each."""
    for block, source, target in zip(blocks, planes[:-1], planes[1:], strict=True):
        block.follow(source, target)


def _matrix(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """A 1x1 convolution's kernel, float32[N, C, 1, 1], as the matrix float32[C, N]."""
    return np.ascontiguousarray(weights[:, :, 0, 0].T)
