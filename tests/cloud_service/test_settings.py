"""Settings and the command line: what is wrong is said in one line, and nothing starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from onnxruntime import get_available_providers

from cloud_service.cli import main
from cloud_service.commands import CONFIG_STATUS
from cloud_service.settings import CloudSettings, OnnxSettings, YoloSettings
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.config.settings import load_settings
from icm.errors import ConfigError


def load(**flags: object) -> CloudSettings:
    return load_settings(CloudSettings, None, {k.replace("__", "."): v for k, v in flags.items()})


def test_nothing_must_be_set() -> None:
    settings = load()
    assert settings.bundle == DEFAULT_BUNDLE
    assert settings.ingest.credit == 64
    assert isinstance(settings.detector, YoloSettings)
    assert settings.records_folder == Path("data/cloud/records")
    assert settings.archive_url == str(Path("data/cloud/archive").absolute())
    assert settings.database_url == f"sqlite:///{Path('data/cloud/cloud.db').absolute()}"


def test_the_detector_is_chosen_by_its_kind() -> None:
    settings = load(detector={"kind": "onnx", "weights": "yolox.onnx"})
    assert settings.detector == OnnxSettings(kind="onnx", weights=Path("yolox.onnx"))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"ingest__credits": 3}, "ingest.credits: unknown setting"),
        ({"ingest__credit": 0}, "ingest.credit"),
        ({"ingest__address": "nowhere"}, "ingest.address"),
        ({"ingest__address": "127.0.0.1:70000"}, "ingest.address"),
        ({"detector__kind": "guess"}, "detector"),
        ({"detector": {"kind": "onnx"}}, "weights: required"),
        ({"detector": {"kind": "none", "weights": "w.pt"}}, "weights: unknown setting"),
        ({"archive__segment_seconds": 0}, "archive.segment_seconds"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(**flags)


def run(tmp_path: Path, *arguments: str, **settings: object) -> int:
    config = tmp_path / "cloud.yaml"
    config.write_text(yaml.safe_dump(settings))
    return main([*arguments[:1], "--config", str(config), *arguments[1:]])


@pytest.mark.parametrize("command", ["run", "check"])
def test_wrong_settings_end_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(tmp_path, command, bundle="b", colour="red") == CONFIG_STATUS
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "colour: unknown setting" in error


def test_a_missing_bundle_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "check", bundle=str(tmp_path / "nowhere")) == CONFIG_STATUS
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_missing_weights_are_named_and_how_to_get_them_is_said(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(tmp_path / "nowhere.pt")
    status = run(tmp_path, "check", bundle=str(bundle), detector={"kind": "yolo", "weights": weights})
    assert status == CONFIG_STATUS
    error = capsys.readouterr().err
    assert weights in error
    assert "detector.weights" in error
    assert "github.com/ultralytics/assets" in error


def test_plaintext_beyond_this_machine_is_refused(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("check", "--set", "ingest.address=0.0.0.0:7443", "--set", "detector.kind=none")
    assert run(tmp_path, *arguments, bundle=str(bundle)) == CONFIG_STATUS
    assert "allow_plaintext" in capsys.readouterr().err
    assert run(tmp_path, *arguments, "--set", "ingest.allow_plaintext=true", bundle=str(bundle)) == 0


def test_a_flag_that_sets_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "check", "--set", "ingest.credit", bundle="b") == CONFIG_STATUS
    assert "KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/db", "mysql+pymysql://host/db"])
def test_a_database_that_cannot_be_is_refused(tmp_path: Path, url: str) -> None:
    from cloud_service.database.opening import open_database

    with pytest.raises(ConfigError, match="database"):
        open_database(url)


def test_where_postgresqls_driver_is_missing_the_error_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "from cloud_service.database.opening import database_engine\n"
        "from icm.errors import ConfigError\n"
        "try: database_engine('postgresql+psycopg://me:secret@host/db')\n"
        "except ConfigError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "pip install 'icm-bridge[postgres]'" in said
    assert "postgresql+psycopg://" in said
    assert "secret" not in said


@pytest.mark.parametrize("url", ["postgresql+nosuch://me:secret@host/db", "post gres://me:secret@host/db"])
def test_a_wrong_database_is_found_by_check_and_its_password_not_shown(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert run(tmp_path, "check", "--set", "detector.kind=none", bundle=str(bundle), database=url) == CONFIG_STATUS
    error = capsys.readouterr().err
    assert "database" in error
    assert "secret" not in error


@pytest.mark.skipif("CUDAExecutionProvider" in get_available_providers(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_found_before_the_first_frame(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("check", "run"):
        status = run(tmp_path, command, "--set", "detector.kind=none", bundle=str(bundle), device="cuda",
                     store={"folder": str(tmp_path / "store")})  # fmt: skip
        assert status == CONFIG_STATUS
        assert "device is cuda" in capsys.readouterr().err


def test_explain_names_every_setting_of_every_detector(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--explain"]) == 0
    text = capsys.readouterr().out
    for name in ("bundle", "ingest.credit", "detector.image_size", "archive.segment_seconds", "drain_seconds"):
        assert f"{name} (" in text
