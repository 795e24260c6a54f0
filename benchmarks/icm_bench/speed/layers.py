"""``icm-bench layers``: what the blocks that transforms can be made of cost a multiplication, in ONNX Runtime.

Each block stands four times in a row in one network, on the positions of a 640x384 picture at its stride, and is timed
on one thread and on two, in turns, so that what else the machine does spreads over all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from icm_bench.report import RESULTS, print_rows, write_json
from icm_bench.timer import Timer

WIDTH, HEIGHT = 640, 384
REPEATED = 4
THREADS = (1, 2)
_OPSET, _IR = 17, 8


class Graph:
    """An ONNX network as it grows: every method adds nodes and returns the name of their result."""

    def __init__(self, channels: int) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.multiplications = 0
        """Of convolutions, a position."""
        self._channels = channels
        self._random = np.random.default_rng(0)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, *shape: int) -> str:
        name = f"constant{len(self.constants)}"
        values = self._random.normal(0, 0.05, shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def bound(self, value: float) -> str:
        name = f"bound{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def convolved(self, x: str, into: int, out: int, side: int, groups: int = 1) -> str:
        weights, bias = self.constant(out, into // groups, side, side), self.constant(out)
        self.multiplications += out * into // groups * side * side
        return self.node("Conv", x, weights, bias, kernel_shape=[side, side], pads=4 * [side // 2], group=groups)

    def residual(self, x: str) -> str:
        """Two dense 3x3 convolutions around a ReLU."""
        inner = self.node("Relu", self.convolved(x, self._channels, self._channels, 3))
        return self.node("Add", x, self.convolved(inner, self._channels, self._channels, 3))

    def gated(self, x: str, gate: str = "Relu", mixes: bool = True) -> str:
        """Depthwise 3x3, then 1x1 twice around a gate of the one half by the other, then 1x1."""
        c = self._channels
        mixed = self.convolved(x, c, c, 3, groups=c) if mixes else x
        first, second = self.convolved(mixed, c, c, 1), self.convolved(mixed, c, c, 1)
        if gate == "Silu":
            opened = self.node("Mul", first, self.node("Sigmoid", first))
        else:
            opened = self.node(gate, first, *((self.bound(0.0), self.bound(2.0)) if gate == "Clip" else ()))
        return self.node("Add", x, self.convolved(self.node("Mul", opened, second), c, c, 1))

    def forward(self, x: str) -> str:
        """Depthwise 3x3, 1x1 to twice the channels, ReLU, 1x1."""
        c = self._channels
        mixed = self.convolved(x, c, c, 3, groups=c)
        wide = self.node("Relu", self.convolved(mixed, c, 2 * c, 1))
        return self.node("Add", x, self.convolved(wide, 2 * c, c, 1))

    def told(self, x: str) -> str:
        """A gated block after a scale and a shift that come with the picture, as for a quality level."""
        return self.gated(self.node("Add", self.node("Mul", x, "scale"), "shift"))


@dataclass(frozen=True)
class Block:
    """A kind of block at a width and a stride."""

    kind: str
    build: Callable[[Graph, str], str]
    channels: int
    stride: int


BLOCKS = (
    Block("dense 3x3 residual", Graph.residual, 128, 8),
    Block("dense 3x3 residual", Graph.residual, 192, 16),
    Block("gated ReLU", Graph.gated, 160, 8),
    Block("gated ReLU", Graph.gated, 176, 8),
    Block("gated ReLU", Graph.gated, 256, 16),
    Block("gated ReLU", Graph.gated, 320, 16),
    Block("gated ReLU", Graph.gated, 64, 4),
    Block("gated ReLU, no depthwise", lambda graph, x: graph.gated(x, mixes=False), 176, 8),
    Block("gated clipped ReLU", lambda graph, x: graph.gated(x, "Clip"), 176, 8),
    Block("gated SiLU", lambda graph, x: graph.gated(x, "Silu"), 176, 8),
    Block("gated sigmoid", lambda graph, x: graph.gated(x, "Sigmoid"), 176, 8),
    Block("feed-forward ReLU", Graph.forward, 176, 8),
    Block("gated ReLU with level scale", Graph.told, 176, 8),
)


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench layers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    runs = {(block, threads): _prepared(block, threads) for threads in THREADS for block in BLOCKS}
    timer = Timer()
    for number in range(options.rounds + 2):
        if number == 2:
            timer = Timer()  # what came before warmed up
        for (block, threads), (run, _) in runs.items():
            with timer(_name(block, threads)):
                run()
    rows = [_row(block, runs[block, 1][1], timer) for block in BLOCKS]
    print_rows(rows)
    figures = {"picture": f"{WIDTH}x{HEIGHT}", "blocks_in_a_row": REPEATED, "rounds": options.rounds, "layers": rows}
    print(f"written to {write_json('layers', figures, options.results)}")
    return 0


def _row(block: Block, cost: float, timer: Timer) -> dict[str, Any]:
    row: dict[str, Any] = {
        "block": block.kind,
        "channels": block.channels,
        "stride": block.stride,
        "kmac_per_pixel": round(cost, 2),
    }
    for threads in THREADS:
        milliseconds = float(np.median(timer.spans[_name(block, threads)])) / REPEATED
        row |= {f"ms_{threads}": round(milliseconds, 2), f"ms_per_kmac_{threads}": round(milliseconds / cost, 2)}
    return row


def _name(block: Block, threads: int) -> str:
    return f"{block.kind} {block.channels} {threads}"


def _prepared(block: Block, threads: int) -> tuple[Callable[[], object], float]:
    """A network of the block, ready to run, and its kMAC per pixel of one block."""
    graph = Graph(block.channels)
    x = "picture"
    for _ in range(REPEATED):
        x = block.build(graph, x)
    shape = [1, block.channels, HEIGHT // block.stride, WIDTH // block.stride]
    told = {"picture": shape, "scale": [1, block.channels, 1, 1], "shift": [1, block.channels, 1, 1]}
    used = {name for node in graph.nodes for name in node.input}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in told.items() if name in used
    ]
    result = helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)
    made = helper.make_graph(graph.nodes, block.kind, inputs, [result], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As the codec's own: threads that wait for the next call would take the cores from the other networks.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    feed = {value.name: np.ones(told[value.name], np.float32) for value in session.get_inputs()}
    cost = graph.multiplications / REPEATED / block.stride**2 / 1000
    return lambda: session.run(None, feed), cost
