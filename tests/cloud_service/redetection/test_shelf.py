"""Which weights may be asked for by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.redetection.jobs import Job, State
from cloud_service.redetection.shelf import FOLDER, WeightsShelf
from cloud_service.redetection.weights import Weights
from cloud_service.settings import CloudSettings
from icm.errors import NotFoundError


def shelf(store: Path, detector: Path | None = None) -> WeightsShelf:
    of = {"kind": "none"} if detector is None else {"kind": "onnx", "weights": detector}
    return WeightsShelf(CloudSettings.model_validate({"store": {"folder": store}, "detector": of}))


def job(weights: Weights) -> Job:
    return Job(1, State.DONE, weights, weights.model, 1, False, 0, 1, 1, "")


def file(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_detectors_those_in_the_folder_and_those_of_jobs_are_offered_and_nothing_else(tmp_path: Path) -> None:
    store = tmp_path / "store"
    own, first = file(tmp_path / "own.onnx"), file(store / FOLDER / "a.pt", b"a")
    file(store / FOLDER / "notes.txt")
    used = Weights.of(file(tmp_path / "used.pt", b"used"))
    offered = shelf(store, own).all([job(used)])
    assert [each.path for each in offered.values()] == [first, own, used.path]
    assert list(offered) == [each.model for each in offered.values()]
    assert shelf(store, own).get(used.model, [job(used)]) == used
    for name in ("", str(own), "notes", "../own", "x" * 5000, used.model):
        with pytest.raises(NotFoundError, match="there are no weights"):
            shelf(store, own).get(name, [])


def test_a_jobs_weights_that_were_replaced_or_are_gone_are_offered_no_more(tmp_path: Path) -> None:
    used = Weights.of(file(tmp_path / "used.pt", b"used"))
    of = shelf(tmp_path / "store")
    assert list(of.all([job(used)])) == [used.model]
    file(used.path, b"others")
    assert of.all([job(used)]) == {}
    gone = replace(used, path=tmp_path / "gone.pt")
    assert of.all([job(gone)]) == {}


def test_a_file_that_was_replaced_has_another_name(tmp_path: Path) -> None:
    path, of = file(tmp_path / FOLDER / "a.pt", b"first"), shelf(tmp_path)
    before = list(of.all([]))
    file(path, b"second one")
    assert list(of.all([])) != before
