"""``icm-cloud export`` as a person runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_service.cli import main
from icm.evidence.case import parse_case
from icm.evidence.layout import CASE
from tests.cases import contents
from tests.cloud_service.evidence.conftest import Served

RANGE = ["--from", "2026-09-21T14:13:20Z", "--to", "2026-09-21T16:14:20+02:00"]
WHY = ["--case", "A bicycle", "--by", "Ann"]


def test_an_evidence_file_is_written_and_how_to_check_it_is_said(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "case.zip"
    cloud = ["--address", f"127.0.0.1:{served.port}", "--camera", "gate", "--camera", "gone"]
    assert main(["export", *cloud, *RANGE, *WHY, "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: {output.stat().st_size} bytes; check it with: icm verify {output}\n"
    assert [camera.name for camera in parse_case(contents(output)[CASE]).cameras] == ["gate", "gone"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (["--to", "2026-09-21T14:13:20Z"], "its start comes before its end"),
        (["--camera", "/"], "camera name '/' is not allowed"),
        (["-o", "."], "is a folder"),
        (["--key", "a.key"], "give --authority too"),
        (["--address", "example.com:7443"], "plaintext"),
    ],
)
def test_what_cannot_be_is_named_in_one_line_and_the_status_is_2(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], text: str
) -> None:
    usual = [
        "--address",
        f"127.0.0.1:{served.port}",
        "--camera",
        "gate",
        *RANGE,
        *WHY,
        "-o",
        str(tmp_path / "case.zip"),
    ]
    assert main(["export", *usual, *changed]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert not (tmp_path / "case.zip").exists()
