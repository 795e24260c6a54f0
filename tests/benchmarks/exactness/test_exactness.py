"""``icm-bench exactness``: every runtime decodes what was coded, and a runtime that computes otherwise is found out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from icm.codec.bitstream.record import Kind
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import MOTION
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.entropy.integer_network import IntegerNetwork
from icm.codec.latents.latents import STRIDE
from icm_bench.cli import main
from icm_bench.exactness.chain import CHAINS, Chain, Sent, records
from icm_bench.exactness.exactness import Findings, Runtime, examine
from icm_bench.exactness.runtimes import CONTROLS, RUNTIMES
from tests.clips import CLIP_FRAMES, write_clip
from tests.golden.streams import scene
from tests.icm.codec.motion.test_choice import texture

COUNT = 24
SMALL = Chain(number=5, width=90, height=49, cut=False, step=1)
CUT = Chain(number=3, width=130, height=97, cut=True, step=1)
CLIP_SIZE = (320, 240)
"""Larger than any chain's pictures."""


@pytest.fixture(scope="module")
def codec() -> Bundle:
    return Bundle.load(DEFAULT_BUNDLE, 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two walk over a background that stays, and a spot passes by."""
    target = tmp_path_factory.mktemp("clip") / "walk.mkv"
    pictures = []
    for time in range(CLIP_FRAMES):
        picture = scene(*CLIP_SIZE, time)
        for walker, left in ((0, 40 + 6 * time), (1, 200 - 6 * time)):
            picture[90 : 90 + 96, left : left + 72] = texture(96, 72, walker) // 2 + 100
        pictures.append(picture)
    write_clip(target, pictures)
    return target


@pytest.fixture(scope="module")
def sent(codec: Bundle, clip: Path) -> list[Sent]:
    """More records than the clip has frames."""
    return list(records(codec, clip, SMALL, 4 * CLIP_FRAMES))


@pytest.fixture(scope="module")
def findings(codec: Bundle, clip: Path) -> Iterator[Findings]:
    """Of two short chains, one scaled down and one cut out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    both = examine(codec, clip, SMALL, COUNT)
    both.add(examine(codec, clip, CUT, COUNT))
    yield both
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_decodes_every_record_of_both_kinds_to_what_was_coded(findings: Findings, name: str) -> None:
    row = findings.runtimes[name].row("runtime", name)
    assert row["mismatches"] == 0, findings.runtimes[name].mismatches
    assert row["records"] == 2 * COUNT
    assert row["coded_again"] == 2 * COUNT / 4
    assert min(row["I"], row["P"]) > 0


@pytest.mark.parametrize("name", CONTROLS)
def test_a_filter_that_is_off_by_one_is_found(findings: Findings, name: str) -> None:
    assert findings.controls[name].mismatches
    assert not findings.faults()


def test_a_control_that_goes_unseen_is_a_fault() -> None:
    assert Findings().faults() == [f"the control {name} went unseen" for name in CONTROLS]


def test_a_mismatch_names_runtime_and_record_and_condemns_no_other(codec: Bundle, sent: list[Sent]) -> None:
    runtime = Runtime(codec, lambda network: IntegerNetwork(network, 1))
    other = sent[4].latents
    changed = replace(sent[4], latents=replace(other, values=other.values + np.int16(1)))
    for record in (*sent[:4], changed):
        runtime.take(record, "one")
    assert len(runtime.tally.mismatches) == 1
    assert runtime.tally.mismatches[0].startswith(f"one, record {changed.sequence} ({changed.kind.name}, quality ")


def test_bytes_that_another_coder_would_have_written_are_a_mismatch(codec: Bundle, sent: list[Sent]) -> None:
    runtime = Runtime(codec, lambda network: IntegerNetwork(network, 1))
    original = runtime._bundle.entropy.encode
    runtime._bundle.entropy.encode = lambda latents: original(latents) + bytes(4)  # type: ignore[method-assign]
    runtime.take(sent[0], "one")
    assert "coded to other bytes" in runtime.tally.mismatches[0]


def test_a_chain_changes_quality_goes_over_the_clip_again_and_on_after_frames_coded_again(sent: list[Sent]) -> None:
    assert len({record.quality for record in sent}) > 3
    assert any(record.quality % 16 for record in sent)
    pairs = list(pairwise(sent))
    assert any(one.quality != other.quality and other.kind is Kind.P for one, other in pairs)
    again = [(one, other) for one, other in pairs if other.again]
    assert again
    for one, other in again:
        assert (one.sequence, one.kind, other.kind) == (other.sequence, Kind.P, Kind.I)
        assert (one.latents.values == other.latents.values).all()
    assert any(one.again and other.kind is Kind.P for one, other in pairs)


def test_no_side_of_a_chains_pictures_is_a_multiple_of_16() -> None:
    assert all(chain.width % STRIDE and chain.height % STRIDE for chain in CHAINS)


def test_the_command_writes_what_became_of_as_many_records_as_it_was_told_to_take(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("icm_bench.exactness.exactness.CHAINS", (SMALL, CUT))
    assert main(["exactness", "--clip", str(clip), "--records", "49", "--results", str(tmp_path)]) == 0
    assert not capsys.readouterr().err
    figures = json.loads((tmp_path / "exactness.json").read_text())
    assert [row["runtime"] for row in figures["runtimes"]] == list(RUNTIMES)
    assert {row["records"] for row in figures["runtimes"]} == {49}


def test_a_run_too_short_to_find_its_controls_does_not_pass(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("icm_bench.exactness.exactness.CHAINS", (SMALL,))
    assert main(["exactness", "--clip", str(clip), "--records", "1", "--results", str(tmp_path)]) == 1
    assert f"the control {MOTION[0]}, a filter + 1 went unseen" in capsys.readouterr().err
