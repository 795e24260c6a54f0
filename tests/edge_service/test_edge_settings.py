from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_service.settings import EdgeSettings, FileSourceSettings, RtspSourceSettings
from edge_service.sources import make_source
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.config.settings import explain_settings, load_settings
from icm.errors import ConfigError
from icm.service.clock import ManualClock

CAMERA = {"name": "gate", "source": {"kind": "submitted"}}


def load(tmp_path: Path, flags: dict[str, Any] | None = None, **values: Any) -> EdgeSettings:
    path = tmp_path / "edge.yaml"
    path.write_text(yaml.safe_dump({"cameras": [CAMERA], **values}))
    return load_settings(EdgeSettings, path, flags or {})


def test_a_camera_is_all_that_must_be_told(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.bundle == DEFAULT_BUNDLE
    assert settings.cloud.address == "127.0.0.1:7443"
    assert settings.frame_api.address == "127.0.0.1:7444"
    assert settings.metrics.address == "127.0.0.1:9464"
    assert settings.spool.max_bytes == 10 * 2**30
    assert settings.cameras[0].quality == 3.0


def test_environment_beats_file_and_flags_beat_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICM_EDGE_CLOUD__ADDRESS", "127.0.0.1:2")
    monkeypatch.setenv("ICM_EDGE_LOG_LEVEL", "debug")
    settings = load(tmp_path, {"log_level": "error"}, cloud={"address": "127.0.0.1:1"}, log_level="warning")
    assert settings.cloud.address == "127.0.0.1:2"
    assert settings.log_level == "error"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"clod": {}}, "clod: unknown setting"),
        ({"cloud": {"adress": "x:1"}}, "cloud.adress: unknown setting"),
        ({"cameras": [{**CAMERA, "fps": 3}]}, "cameras.0.fps: unknown setting"),
        (
            {"cameras": [{"name": "gate", "source": {"kind": "file", "path": "a", "speed": 1}}]},
            "cameras.0.source.file.speed: unknown setting",
        ),
        ({"cameras": [{"name": "gate", "source": {"kind": "film"}}]}, "cameras.0.source: Input tag 'film'"),
        ({"cameras": [{"name": "gate"}]}, "cameras.0.source: required, but not set"),
        ({"cameras": []}, "cameras: List should have at least 1 item"),
        ({"cameras": [CAMERA, CAMERA]}, "more than one is called gate"),
        ({"cameras": [{**CAMERA, "name": "The Gate"}]}, "camera name 'The Gate' is not allowed"),
        ({"cameras": [{**CAMERA, "max_fps": 3}]}, "max_fps cannot be set for submitted pictures"),
        ({"cloud": {"address": "localhost"}}, "host:port"),
        ({"metrics": {"address": "localhost:99999"}}, "host:port"),
        ({"device": "gpu"}, "device: Input should be 'cpu' or 'cuda'"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=r"edge\.yaml") as caught:
        load(tmp_path, **values)
    assert text in str(caught.value)


def test_every_kind_of_source_can_be_told_and_made(tmp_path: Path, clock: ManualClock) -> None:
    sources: list[dict[str, Any]] = [
        {"kind": "file", "path": "clip.mp4", "pace": "fast", "loop": True},
        {"kind": "folder", "path": "pictures", "fps": 2},
        {"kind": "rtsp", "url": "rtsp://camera/live", "timeout_seconds": 5},
        {"kind": "usb", "device": "/dev/video0", "timeout_seconds": 60},
        {"kind": "submitted"},
    ]
    settings = load(tmp_path, cameras=[{"name": f"c{i}", "source": source} for i, source in enumerate(sources)])
    made = [make_source(camera.source, clock) for camera in settings.cameras]
    assert [source.live for source in made] == [False, False, True, True, False]


def test_a_dead_camera_is_given_up_within_ten_seconds() -> None:
    assert RtspSourceSettings(kind="rtsp", url="rtsp://camera/").timeout_seconds < 10


def test_every_setting_is_explained() -> None:
    explained = explain_settings(EdgeSettings)
    assert "None" not in [line.split(": ")[-1] for line in explained.splitlines()]
    for name in ("cloud.address", "spool.max_bytes", "cameras[].quality", "cameras[].source.kind = rtsp"):
        assert name in explained
    for name in FileSourceSettings.model_fields:
        assert f"cameras[].source.{name}" in explained
