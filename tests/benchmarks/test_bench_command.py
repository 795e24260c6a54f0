"""``icm-bench`` as a person uses it: what cannot be measured is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_bench.cli import main


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["rate-accuracy", "--photos", "{nowhere}"], "{nowhere}/images holds no photos"),
        (["speed", "--clip", "{nowhere}"], "{nowhere} cannot be read as a picture or a video"),
        (["speed", "--bundle", "{nowhere}"], "there is no codec bundle at {nowhere}"),
        (["exactness", "--clip", "{nowhere}"], "{nowhere} cannot be read as a picture or a video"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert main([argument.format(nowhere=nowhere) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"icm-bench {arguments[0]}: ")
    assert named.format(nowhere=nowhere) in error
    assert error.count("\n") == 1


def test_an_unknown_benchmark_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speeed"]) == 2
    assert "rate-accuracy" in capsys.readouterr().err
