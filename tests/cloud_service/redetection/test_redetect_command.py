"""``icm-cloud redetect``: what it refuses, and what it says of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.commands import CONFIG_STATUS, run
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import CodedFrame
from tests.cloud_service.parts import coded_records
from tests.cloud_service.redetection.parts import Archive


@pytest.fixture
def archive(tmp_path: Path, database: Engine, loaded: Bundle, coded: list[CodedFrame]) -> Archive:
    archive = Archive(tmp_path, database, loaded)
    archive.append(coded_records(coded, 30))
    return archive


def redetect(archive: Archive, *arguments: str) -> int:
    return run(["redetect", *arguments, "--set", f"store.folder={archive.folder}", "--set", "detector.kind=none"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "needs --cameras and --weights"),
        (["--cameras", "gate"], "needs --cameras and --weights"),
        (["--cameras", ", ,", "--weights", "cat.onnx"], "names none"),
        (["--cameras", "gate", "--weights", "none.onnx"], "there are no weights"),
        (["--cameras", "gate", "--weights", "bad.onnx"], "bad.onnx cannot be used as an ONNX model"),
        (["--cameras", "yard", "--weights", "cat.onnx"], "no records of a camera 'yard'"),
        (
            ["--cameras", "gate", "--weights", "cat.onnx", "--from", "2027-01-01T00Z", "--to", "2026-01-01T00Z"],
            "is not before",
        ),
        (
            ["--cameras", "gate", "--weights", "cat.onnx", "--from", "2030-01-01T00Z"],
            "has a closed segment in that range",
        ),
        (["--cameras", "gate", "--weights", "cat.onnx", "--every", "0"], "--every 0 is not within"),
        (["--cameras", "gate", "--weights", "cat.onnx", "--every", str(1 << 70)], "is not within"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_and_makes_no_job(
    archive: Archive,
    arguments: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(archive.folder)
    (archive.folder / "bad.onnx").write_bytes(b"not a model")
    assert redetect(archive, *arguments) == CONFIG_STATUS
    assert text in capsys.readouterr().err
    assert archive.jobs.overview() == []


def test_a_job_is_made_shown_and_cancelled(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    assert redetect(archive, "status") == 0
    assert capsys.readouterr().out == "there are no re-detections\n"
    weights = ["--weights", str(archive.weights)]
    assert redetect(archive, "--cameras", "gate,gate", *weights, "--from", "2026-09-21T14:13:21Z", "--every", "2") == 0
    assert "re-detection 1: 2 segments with 20 frames of 1 cameras, for cat@" in capsys.readouterr().out
    assert redetect(archive, "status") == 0
    assert "1  waiting  0 %  cat@" in capsys.readouterr().out
    assert redetect(archive, "cancel", "1") == 0
    assert redetect(archive, "cancel", "1") == CONFIG_STATUS
    assert "re-detection 1 is cancelled already" in capsys.readouterr().err
    for number in ("7", str(1 << 80), "-3"):
        assert redetect(archive, "cancel", number) == CONFIG_STATUS
        assert f"no re-detection {number};" in capsys.readouterr().err


def test_a_cloud_that_has_no_database_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["redetect", "status", "--set", f"store.folder={tmp_path}"]) == CONFIG_STATUS
    assert "there is no database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
