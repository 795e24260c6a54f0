"""Settings: file, then environment, then flags; what is unknown or wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from icm.config.settings import ServiceSettings, explain_settings, load_settings
from icm.errors import ConfigError


class Door(BaseModel):
    width: int = Field(80, description="in centimetres", gt=0)


class HouseSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TEST_HOUSE_")

    street: str = Field(description="where it stands")
    door: Door = Field(default_factory=Door, description="how one gets in")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "house.yaml"
    path.write_text("street: Elm\ndoor: {width: 90}\n")
    return path


def test_a_file_sets_what_it_names_and_leaves_the_rest(file: Path) -> None:
    file.write_text("street: Elm\n")
    settings = load_settings(HouseSettings, file, {})
    assert (settings.street, settings.door.width) == ("Elm", 80)


def test_the_environment_wins_over_the_file_and_flags_over_both(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOUSE_STREET", "Oak")
    monkeypatch.setenv("TEST_HOUSE_DOOR__WIDTH", "100")
    settings = load_settings(HouseSettings, file, {"door.width": 110})
    assert (settings.street, settings.door.width) == ("Oak", 110)


def test_a_flag_that_was_not_given_changes_nothing(file: Path) -> None:
    assert load_settings(HouseSettings, file, {"door.width": None}).door.width == 90


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("street: Elm\ncolour: red\n", "colour: unknown setting"),
        ("street: Elm\ndoor: {width: -1}\n", r"door\.width: .*greater than 0.*got -1"),
        ("door: {width: 90}\n", "street: required"),
        ("street: [\n", "not valid YAML"),
        ("- street\n", "must hold settings by name"),
    ],
)
def test_a_bad_file_is_one_error_that_names_the_file_and_the_setting(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(HouseSettings, file, {})
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the settings file .*none\.yaml"):
        load_settings(HouseSettings, tmp_path / "none.yaml", {})


def test_a_variable_that_sets_nothing_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOUSE_COLOUR", "red")
    with pytest.raises(ConfigError, match="TEST_HOUSE_COLOUR sets no setting"):
        load_settings(HouseSettings, file, {})


def test_a_variable_that_should_hold_json_and_does_not_is_one_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_HOUSE_DOOR", "notjson")
    with pytest.raises(ConfigError, match="door"):
        load_settings(HouseSettings, file, {})


def test_explain_tells_every_setting_with_its_default_and_meaning() -> None:
    text = explain_settings(HouseSettings)
    assert "street (required): where it stands" in text
    assert "door.width (default 80): in centimetres" in text
