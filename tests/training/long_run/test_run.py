"""A long run: stopped and taken up anywhere it is the same run, it never loses much, and never runs twice at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icm.errors import ConfigError
from icm_train.cli import main
from icm_train.long_run.checkpoints import Checkpoints
from icm_train.long_run.history import read_rows
from icm_train.long_run.run import LongRun, only_one, owner, paused
from icm_train.long_run.schedule import Finish, share_of_peak
from tests.training.small_run import CONFIG, CONFIG_YAML

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def as_polite_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in this process must not make the tests after it slower; that it is polite is tested on a process."""
    monkeypatch.setattr(os, "nice", lambda _: 0)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = Checkpoints(folder / "checkpoints").newest()
    assert found is not None
    return found[1]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value.nan_to_num(), other[name].nan_to_num()), name


def test_two_slices_are_one_run(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path / "whole").run(steps=10)
    LongRun(CONFIG, shard, tmp_path / "sliced").run(steps=5)
    LongRun(CONFIG, shard, tmp_path / "sliced").run(steps=10)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "sliced"))


def test_with_muon_two_slices_are_one_run_too(shard: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, optimiser="muon", levels="random"))
    LongRun(config, shard, tmp_path / "whole").run(steps=10)
    LongRun(config, shard, tmp_path / "sliced").run(steps=5)
    LongRun(config, shard, tmp_path / "sliced").run(steps=10)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "sliced"))


def test_a_slice_ends_after_its_minutes(shard: Path, tmp_path: Path) -> None:
    run = LongRun(CONFIG, shard, tmp_path)
    run.run(minutes=1 / 60, steps=100_000)
    assert 1 <= run.learner.step < 100_000
    assert Checkpoints(tmp_path / "checkpoints").newest()[0] == run.learner.step  # type: ignore[index]


def test_a_checkpoint_is_cut_into_files_that_are_small_enough_to_travel(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LongRun(CONFIG, shard, tmp_path / "whole").run(steps=5)
    monkeypatch.setattr("icm_train.long_run.checkpoints.PART_BYTES", 50_000)
    LongRun(CONFIG, shard, tmp_path / "cut").run(steps=5)
    files = list((tmp_path / "cut/checkpoints").rglob("part-*.pt"))
    assert len(files) > 3
    assert max(path.stat().st_size for path in files) < 100_000  # one tensor may be larger than a part should be
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_checkpoints_that_cannot_be_read_do_not_cost_the_ones_made_after_them(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path).run(steps=25)
    for path in (tmp_path / "checkpoints").rglob("part-0.pt"):
        path.write_bytes(b"")
    run = LongRun(CONFIG, shard, tmp_path)
    run.run(steps=5)
    assert LongRun(CONFIG, shard, tmp_path).learner.step == 5


def test_the_last_three_checkpoints_are_kept(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path).run(steps=25)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["00000015", "00000020", "00000025"]


def test_a_damaged_checkpoint_is_passed_by_for_the_one_before(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path).run(steps=10)
    part = tmp_path / "checkpoints/00000010/part-0.pt"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    assert LongRun(CONFIG, shard, tmp_path).learner.step == 5


def test_what_was_told_of_lost_steps_is_forgotten(shard: Path, tmp_path: Path) -> None:
    run = LongRun(CONFIG, shard, tmp_path)
    run.run(steps=10)
    with run.history.losses.open("a") as file:
        file.write("step,seconds,loss,gradient,skipped\n5,1,1,1,0\n50,3,1,1,0\n")
    LongRun(CONFIG, shard, tmp_path).run(steps=10)
    assert [row["step"] for row in read_rows(run.history.losses)] == ["5"]


def test_weights_that_are_not_finite_are_never_saved(shard: Path, tmp_path: Path) -> None:
    run = LongRun(CONFIG, shard, tmp_path)
    run.run(steps=5)
    with torch.no_grad():
        next(run.learner.codec.parameters()).fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"went astray: .* is not finite at step 5"):
        run.save()
    assert bool(weights(tmp_path)["codec/analysis.linear.weight"].isfinite().all())


def test_other_networks_than_the_checkpoints_are_refused(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path).run(steps=5)
    other = replace(CONFIG, network=replace(CONFIG.network, decoder_wide_blocks=1))
    with pytest.raises(ConfigError, match="are of other networks"):
        LongRun(other, shard, tmp_path)


def test_another_optimiser_begins_anew_and_the_weights_stay(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path).run(steps=5)
    learner = LongRun(replace(CONFIG, recipe=replace(CONFIG.recipe, optimiser="muon")), shard, tmp_path).learner
    assert (learner.step, learner.optimiser_since) == (5, 5)


def test_a_run_may_learn_another_shape_of_latents_and_the_weights_stay(shard: Path, tmp_path: Path) -> None:
    before = LongRun(CONFIG, shard, tmp_path)
    before.run(steps=5)
    mixture = replace(CONFIG, network=replace(CONFIG.network, likelihood="mixture"))
    run = LongRun(mixture, shard, tmp_path)
    assert (run.learner.step, run.learner.optimiser_since) == (5, 5)
    assert torch.equal(run.learner.average["analysis.down.weight"], before.learner.average["analysis.down.weight"])
    run.run(steps=10)
    assert LongRun(mixture, shard, tmp_path).learner.optimiser_since == 5
    back = LongRun(CONFIG, shard, tmp_path).learner
    assert (back.step, back.optimiser_since) == (10, 10)
    assert "latent_bits.shares" not in back.average


def test_the_rate_is_constant_until_an_end_is_ordered_and_then_falls_to_nothing() -> None:
    finish = Finish(start=1000, steps=200)
    assert share_of_peak(5000, None) == 1
    assert [share_of_peak(step, finish) for step in (0, 1000, 1100, 1200, 1500)] == [1, 1, 0.5, 0, 0]


def test_a_run_ends_measured_and_marked_where_its_end_was_ordered(shard: Path, tmp_path: Path) -> None:
    LongRun(CONFIG, shard, tmp_path).run(steps=5)
    Finish(5, 4).order(tmp_path)
    run = LongRun(CONFIG, shard, tmp_path)
    run.run()
    assert run.learner.step == 9
    assert (tmp_path / "finished").exists()
    assert [row["step"] for row in read_rows(run.history.measured)] == ["9"]
    assert run.history.plot.exists()


def test_two_runs_in_one_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG_YAML)
    with only_one(tmp_path):
        assert main(["long", "run", "--folder", str(tmp_path), "--config", str(config)]) == 2
        assert f"is going already, as process {os.getpid()}" in capsys.readouterr().err
    assert owner(tmp_path) is None


@pytest.fixture
def going(shard: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, which has saved once."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG_YAML)
    for path in shard.parent.iterdir():
        (tmp_path / path.name).symlink_to(path)
    files = ["--folder", str(tmp_path), "--config", str(config), "--saved", str(tmp_path / "saved.pt")]
    process = subprocess.Popen([str(Path(sys.executable).with_name("icm-train")), "long", "run", *files])
    try:
        wait_until(lambda: Checkpoints(tmp_path / "checkpoints").newest() is not None)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(holds: object) -> None:
    until = time.monotonic() + 60
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    going: subprocess.Popen[bytes], shard: Path, tmp_path: Path
) -> None:
    going.send_signal(signal.SIGKILL)
    going.wait()
    run = LongRun(CONFIG, shard, tmp_path)
    assert run.learner.step % CONFIG.save_every == 0
    assert run.learner.step >= CONFIG.save_every
    run.run(steps=run.learner.step + 1)


def test_a_run_has_a_low_priority(going: subprocess.Popen[bytes]) -> None:
    assert os.getpriority(os.PRIO_PROCESS, going.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10


def test_a_measurement_that_a_kill_cost_is_made_up_for_and_none_is_made_twice(shard: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, measure_every=5)
    run = LongRun(config, shard, tmp_path)
    run.run(steps=5)
    assert [row["step"] for row in read_rows(run.history.measured)] == ["5"]
    LongRun(config, shard, tmp_path).run(steps=5)
    assert [row["step"] for row in read_rows(run.history.measured)] == ["5"]
    run.history.measured.unlink()
    LongRun(config, shard, tmp_path).run(steps=5)
    assert [row["step"] for row in read_rows(run.history.measured)] == ["5"]


def test_status_says_where_a_run_is_and_pause_holds_it_up(
    going: subprocess.Popen[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--folder", str(tmp_path)]
    wait_until(lambda: read_rows(tmp_path / "steps.csv"))
    assert main(["long", "status", *folder]) == 0
    assert f"going as process {going.pid}" in capsys.readouterr().out
    assert main(["long", "pause", *folder]) == 0
    assert paused(tmp_path).exists()
    time.sleep(1.0)
    held = Checkpoints(tmp_path / "checkpoints").newest()[0]  # type: ignore[index]
    time.sleep(1.5)
    assert Checkpoints(tmp_path / "checkpoints").newest()[0] == held  # type: ignore[index]
    assert main(["long", "status", *folder]) == 0
    told = capsys.readouterr().out
    assert "held up" in told
    assert "steps an hour" in told
    assert main(["long", "resume", *folder]) == 0
    wait_until(lambda: Checkpoints(tmp_path / "checkpoints").newest()[0] > held)  # type: ignore[index]


def started(shard: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """``icm-train long start`` in this folder, with the shard's photos."""
    for path in shard.parent.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
    (folder / "config.yaml").write_text(CONFIG_YAML)
    files = ["--folder", folder, "--config", folder / "config.yaml", "--saved", folder / "saved.pt"]
    command = [Path(sys.executable).with_name("icm-train"), "long", "start", *files]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_start_trains_in_the_background_and_a_second_start_only_says_where_it_is(shard: Path, tmp_path: Path) -> None:
    first = started(shard, tmp_path)
    process = owner(tmp_path)
    assert process, first.stderr
    try:
        assert f"going as process {process}" in first.stdout
        assert f"going as process {process}" in started(shard, tmp_path).stdout
        assert owner(tmp_path) == process
    finally:
        os.kill(process, signal.SIGKILL)


def test_start_says_why_a_run_ended_at_once(shard: Path, tmp_path: Path) -> None:
    (tmp_path / "saved.pt").write_bytes(b"nothing")
    ended = started(shard, tmp_path)
    assert ended.returncode == 2
    assert "ended at once" in ended.stderr
    assert "holds no weights of a long run" in ended.stderr
