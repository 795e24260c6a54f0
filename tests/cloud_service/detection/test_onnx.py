"""The YOLOX detector: its arithmetic on a network whose output is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cloud_service.detection.coco import CLASSES
from cloud_service.detection.onnx import OnnxDetector, letterbox, suppress
from icm.errors import DetectorError

SIDE, CELLS = 64, 64 + 16 + 4
BLUE = 2


def network(path: Path, output: NDArray[np.float32], scale_by_blue: bool = False) -> Path:
    """A model of YOLOX's shape that answers ``output``, if asked so times the first pixel's first channel over 255."""
    nodes = [
        helper.make_node("Slice", ["images", "zero", "one", "axes"], ["corner"]),
        helper.make_node("ReduceMax", ["corner"], ["value"], keepdims=0),
        helper.make_node("Div", ["value", "most"], ["share"]),
        helper.make_node("Mul", ["answer", "share"], ["output"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "zero": np.array([0, 0, 0], np.int64),
        "one": np.array([1, 1, 1], np.int64),
        "axes": np.array([1, 2, 3], np.int64),
        "most": np.array(255, np.float32),
        "answer": output,
    }
    if not scale_by_blue:
        nodes = [helper.make_node("Identity", ["answer"], ["output"])]
    graph = helper.make_graph(
        nodes,
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(output.shape))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def answer(cell: int, x: float, y: float, width: float, height: float, name: str) -> NDArray[np.float32]:
    """One object: offsets within its cell and sizes, in strides."""
    output = np.zeros((1, CELLS, 5 + len(CLASSES)), np.float32)
    output[0, cell, :5] = (x, y, np.log(width), np.log(height), 0.9)
    output[0, cell, 5 + CLASSES.index(name)] = 1.0
    return output


def test_boxes_leave_the_grid_and_the_letterbox(tmp_path: Path) -> None:
    # Cell 64 + 1 is column 1, row 0 of the grid of stride 16: its corner lies at (16, 0).
    path = network(tmp_path / "tiny.onnx", answer(64 + 1, 0.5, 0.5, 1.0, 0.5, "dog"))
    ((found,),) = OnnxDetector(path, 0.3, "cpu", 1).detect([np.zeros((64, 128, 3), np.uint8)])
    assert found.class_name == "dog"
    assert found.score == pytest.approx(0.9)
    # The picture was halved to fit, so everything comes back doubled.
    assert (found.left, found.top, found.right, found.bottom) == pytest.approx((32, 8, 64, 24))


def test_the_network_sees_blue_first_as_it_was_trained(tmp_path: Path) -> None:
    path = network(tmp_path / "tiny.onnx", answer(0, 0.5, 0.5, 1, 1, "cat"), scale_by_blue=True)
    detector = OnnxDetector(path, 0.3, "cpu", 1)
    blue, red = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    blue[:, :, BLUE], red[:, :, 0] = 255, 255
    assert [len(found) for found in detector.detect([blue, red])] == [1, 0]


def test_what_is_below_the_confidence_is_left_out(tmp_path: Path) -> None:
    path = network(tmp_path / "tiny.onnx", answer(0, 0.5, 0.5, 1, 1, "cat"))
    assert OnnxDetector(path, 0.95, "cpu", 1).detect([np.zeros((64, 64, 3), np.uint8)]) == [[]]


def test_boxes_end_where_the_picture_does(tmp_path: Path) -> None:
    path = network(tmp_path / "tiny.onnx", answer(CELLS - 1, 0.5, 0.5, 9, 9, "bus"))
    ((found,),) = OnnxDetector(path, 0.3, "cpu", 1).detect([np.zeros((32, 64, 3), np.uint8)])
    assert (found.left, found.top, found.right, found.bottom) == (0, 0, 64, 32)


def test_a_file_that_is_no_model_and_a_model_that_is_no_yolox_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"gone\.onnx"):
        OnnxDetector(tmp_path / "gone.onnx", 0.3, "cpu", 1)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(DetectorError, match=r"text\.onnx"):
        OnnxDetector(tmp_path / "text.onnx", 0.3, "cpu", 1)
    other = network(tmp_path / "other.onnx", np.zeros((1, 7, 85), np.float32))
    with pytest.raises(DetectorError, match="84 cells"):
        OnnxDetector(other, 0.3, "cpu", 1)


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_letterboxed_picture_fills_the_square_one_way_and_is_padded_below_and_right(width: int, height: int) -> None:
    square, scale = letterbox(np.full((height, width, 3), 7, np.uint8), 64)
    filled = (square == 7).all(2)
    assert scale == 64 / max(width, height)
    assert filled[0, 0]
    assert filled.any(0).sum() == max(1, round(width * scale))
    assert filled.any(1).sum() == max(1, round(height * scale))
    assert (square[~filled] == 114).all()


def test_of_overlapping_boxes_of_a_class_the_best_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.6, 0.9, 0.5, 0.3], np.float32)
    classes = np.array([0, 0, 1, 0])
    assert suppress(boxes, scores, classes).tolist() == [1, 2, 3]
    assert suppress(boxes[:0], scores[:0], classes[:0]).tolist() == []
