"""Object-region learning knows masks and no detector: none is loaded, and none stands in the graph of the loss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from icm_train.config import load_config
from icm_train.stages import object_region
from tests.training.conftest import borrow, smoke_config

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def leaves(loss: torch.Tensor) -> Iterator[torch.Tensor]:
    """Everything that a gradient of the loss arrives at."""
    todo: list[Any] = [loss.grad_fn]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        todo.extend(following for following, _ in node.next_functions)


def test_every_leaf_of_the_losss_graph_is_a_parameter_of_the_codec(trained: Path, tmp_path: Path) -> None:
    config = load_config(smoke_config(tmp_path / "object.yaml", object={"crop": 64}))
    trainer = object_region.trainer(config.network, config.object, trained / "photos.u8", tmp_path)
    loss, _ = trainer.objective(trainer.next_batch())
    ours = {id(parameter) for parameter in trainer.codec.parameters()}
    found = {id(leaf) for leaf in leaves(loss)}
    assert found <= ours
    updated = {id(p) for part in (trainer.codec.analysis, trainer.codec.synthesis) for p in part.parameters()}
    assert updated <= found  # so the walk through the graph saw all of it


def test_the_stage_runs_where_no_detector_can_be_imported(trained: Path, tmp_path: Path) -> None:
    borrow(trained, tmp_path, "photos.u8", "photos.json", "photos.masks", "base.pt")
    config = smoke_config(tmp_path / "object.yaml", object={"steps": 2, "crop": 64, "save_every": 2})
    script = (
        "import sys\n"
        "for name in ('ultralytics', 'cloud_service', 'faster_coco_eval'): sys.modules[name] = None\n"
        "from icm_train.cli import main\n"
        f"sys.exit(main(['object', '--folder', {str(tmp_path)!r}, '--config', {str(config)!r}]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, check=True)
    assert torch.load(tmp_path / "object.pt", weights_only=True)["step"] == 2
