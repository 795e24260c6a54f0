"""``icm doctor`` finds a machine or a bundle that would not give what others give."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bundle.shipped import SHIPPED
from icm.codec.encoder import CodedFrame, Encoder
from icm.command.cli import main
from icm.command.doctor import examine


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Verdict and detail of each check, by its name."""
    told = [line.partition(": ") for line in capsys.readouterr().out.splitlines()]
    return {start[7:]: f"{start[:6].strip()} {detail}" for start, _, detail in told}


def test_a_sound_machine_passes_every_check_of_every_bundle_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = lines(capsys)
    assert all(text.startswith("ok ") for text in told.values())
    assert "CPUExecutionProvider" in told["providers"]
    assert "numpy 1." in told["libraries"]
    for name in SHIPPED:
        assert {f"golden records of {name}, threads {threads}" for threads in (1, 2, 4)} < set(told)
        assert f"encoding with {name} on cpu" in told


def test_a_damaged_bundle_fails_by_name_and_the_other_checks_go_on(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / bundle.name
    shutil.copytree(bundle, damaged)
    network = damaged / "hyper_decoder.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"!")
    assert main(["doctor", "--bundle", str(damaged)]) == 1
    told = lines(capsys)
    assert told[f"golden records of {bundle.name}, threads 1"].startswith(
        f"FAILED BundleError: the bundle's file {network} is damaged"
    )
    assert told[f"encoding with {bundle.name} on cpu"].startswith("FAILED")
    assert told["machine"].startswith("ok")


def test_an_encoder_whose_frames_decode_to_something_else_is_found(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Encoder.encode

    def wrong(encoder: Encoder, image: NDArray[np.uint8], quality: float) -> CodedFrame:
        frame = encode(encoder, image, quality)
        frame.latents.values[0, 0, 0] += 1
        return frame

    monkeypatch.setattr(Encoder, "encode", wrong)
    assert not examine([bundle])
    assert "decodes to other latents than were coded" in lines(capsys)[f"encoding with {bundle.name} on cpu"]
