"""What ``icm-bench speed`` counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm_bench.speed.incremental import tile_rows
from icm_bench.speed.network_cost import multiplications, peak


def test_multiplications_of_convolutions_and_products_are_counted_per_result(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["y"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Flatten", ["y"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix"], ["z"]),
    ]
    weights = {"filters": np.ones((5, 3, 3, 3), np.float32), "matrix": np.ones((5 * 4 * 6, 7), np.float32)}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 12])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 7])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    convolution, product = 5 * 4 * 6 * 3 * 9, 5 * 4 * 6 * 7
    assert multiplications(path, [np.zeros((1, 3, 8, 12), np.float32)]) == convolution + product


def test_the_peak_is_measured() -> None:
    assert peak(1, "cpu") > 1e8


def test_tiles_of_a_still_scene_compute_less_and_stay_with_the_whole() -> None:
    bundle = Bundle.load(DEFAULT_BUNDLE, 1)
    row, column = np.mgrid[0:160, 0:192]
    still = np.stack([row, column, row + column], -1).clip(0, 255).astype(np.uint8)
    frames = [still] * 5
    for number in (2, 3, 4):
        frames[number] = still.copy()
        frames[number][16:32, 16 * number : 16 * number + 8] = 255
    rows = {(line["scene"], line["end"]): line for line in tile_rows(bundle, frames, 3.0)}
    assert set(rows) == {(s, e) for s in ("as it is", "everything moves") for e in ("analysis", "synthesis")}
    assert rows["as it is", "analysis"]["share"] < rows["everything moves", "analysis"]["share"]
    assert rows["as it is", "synthesis"]["share"] < rows["everything moves", "synthesis"]["share"]
    assert max(row["farthest"] for row in rows.values()) <= 1
