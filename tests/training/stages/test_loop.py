"""The stages' loop: how many steps at which rate, what is logged and saved when, and how it goes on after a stop."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from icm_train.schedule import load_optimiser, set_rates
from icm_train.stages.loop import Loop, Metrics, Pace, Stage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Line(Stage):
    """Fits a line to points that follow from the step's number; step 13 fails while ``unlucky``."""

    def __init__(self, unlucky: bool = False) -> None:
        self.weights = torch.nn.Parameter(torch.zeros(2))
        self.optimiser = torch.optim.Adam([{"params": [self.weights], "peak": 0.1}])
        self.unlucky = unlucky
        self.shares: list[float] = []
        self.taken: list[int] = []

    def step(self, taken: int, share: float) -> Metrics:
        if self.unlucky and taken == 13:
            raise KeyboardInterrupt
        self.shares.append(share)
        self.taken.append(taken)
        x = torch.linspace(0, 1, 8) + taken % 3
        set_rates(self.optimiser, share)
        loss = (self.weights[0] * x + self.weights[1] - 2 * x - 1).square().mean()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return {"loss": loss.detach(), "taken": torch.tensor([taken, -taken]).double()}

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights.detach(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.weights.copy_(state["weights"])
        load_optimiser(self.optimiser, state["optimiser"])


def trained(folder: Path, steps: int, **options: Any) -> Line:
    """The stage after a loop of so many steps, which went on from what was there."""
    line = Line()
    loop = Loop("line", line, Pace(steps, save_every=5, log_every=4, warmup=3), folder, **options)
    loop.resume()
    loop.run()
    return line


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "line.csv").open() as file:
        return list(csv.DictReader(file))


def saved(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "line.pt", weights_only=True)
    return state


def test_the_rate_rises_over_the_warm_up_and_falls_along_a_cosine(tmp_path: Path) -> None:
    shares = trained(tmp_path, 40).shares
    assert shares[:3] == pytest.approx([1 / 3, 2 / 3, 0.994], abs=2e-3)
    assert shares[20] == pytest.approx(0.51)
    assert shares[2:] == sorted(shares[2:], reverse=True)
    assert 0.02 < shares[-1] < 0.022


def test_rows_hold_the_means_since_the_row_before_and_lists_become_columns(tmp_path: Path) -> None:
    trained(tmp_path, 11)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == ["4", "8"]
    assert list(found[0]) == ["step", "seconds", "loss", "taken_0", "taken_1"]
    assert [(float(row["taken_0"]), float(row["taken_1"])) for row in found] == [(1.5, -1.5), (5.5, -5.5)]


def test_a_checkpoint_is_there_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    line = Line(unlucky=True)
    with pytest.raises(KeyboardInterrupt):
        Loop("line", line, Pace(40, save_every=5, log_every=4), tmp_path).run()
    assert saved(tmp_path)["step"] == 10
    trained(tmp_path, 18)
    assert saved(tmp_path)["step"] == 18


def test_a_stopped_run_ends_with_the_weights_of_one_that_never_stopped(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 40)
    line = Line(unlucky=True)
    with pytest.raises(KeyboardInterrupt):
        Loop("line", line, Pace(40, save_every=5, log_every=4, warmup=3), tmp_path / "stopped").run()
    rest = trained(tmp_path / "stopped", 40)
    assert rest.taken == list(range(10, 40))
    assert torch.equal(rest.weights, whole.weights)
    # Step 12 is told twice, the second time by the steps 10 and 11 alone, which came after the checkpoint.
    assert [row["step"] for row in rows(tmp_path / "stopped")] == [
        str(4 * n) for n in (1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10)
    ]
    assert float(rows(tmp_path / "stopped")[3]["taken_0"]) == 10.5


def test_a_checkpoint_made_from_something_else_is_not_gone_on_from(tmp_path: Path) -> None:
    trained(tmp_path, 10, source="ab")
    assert saved(tmp_path)["source"] == "ab"
    assert trained(tmp_path, 12, source="ab").taken == [10, 11]
    assert trained(tmp_path, 12, source="cd").taken == list(range(12))


def test_a_checkpoint_of_other_networks_is_not_gone_on_from(tmp_path: Path) -> None:
    class Wider(Line):
        def fits(self, state: dict[str, Any]) -> bool:
            weights: Tensor = state["weights"]
            return len(weights) == 3

    trained(tmp_path, 10)
    loop = Loop("line", Wider(), Pace(12, save_every=5, log_every=4), tmp_path)
    assert not loop.resume()
    assert loop.taken == 0


def test_a_finished_run_takes_no_step_and_touches_no_file(tmp_path: Path) -> None:
    trained(tmp_path, 10)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert trained(tmp_path, 10).taken == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_run_goes_on_at_the_rates_of_its_settings_not_at_those_of_its_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, 10)
    line = Line()
    line.optimiser.param_groups[0]["peak"] = 0.5
    line.load(saved(tmp_path))
    set_rates(line.optimiser, 0.5)
    assert [group["lr"] for group in line.optimiser.param_groups] == [0.25]
