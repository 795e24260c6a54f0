"""YAML that people write: names twice, and names that YAML takes for something else, are errors that say what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_service.frame_api.tokens import Tokens
from edge_service.settings import EdgeSettings
from icm.config.assignments import parse_assignments
from icm.config.settings import load_settings
from icm.config.yaml_text import parse_yaml
from icm.errors import ConfigError
from icm_train.config import read_yaml

TAKEN_FOR = {
    **dict.fromkeys(["007", "12", "0x1F", "0b101", "1_000", "12:30", "12:30:45", "-3", "1.5", ".inf"], "a number"),
    **dict.fromkeys(["2024-01-01", "2024-01-01 10:00:00", "2024-1-1T1:00:00Z"], "a time"),
    **dict.fromkeys(["on", "Off", "yes", "NO", "true"], "true or false"),
    **dict.fromkeys(["~", "null", "Null"], "nothing"),
}
LOOKS_LIKE = ["2024-13-45", "0x_", "2024-02-30T10:00:00Z"]
PLACES = {
    "cameras.0.name": "bundle: b\ncameras:\n- name: {}\n  source: {{kind: submitted}}\n",
    "bundle": "bundle: {}\ncameras: [{{name: a, source: {{kind: submitted}}}}]\n",
    "cameras.0.source.usb.device": "bundle: b\ncameras: [{{name: a, source: {{kind: usb, device: {}}}}}]\n",
    "spool.folder": "bundle: b\nspool: {{folder: {}}}\ncameras: [{{name: a, source: {{kind: submitted}}}}]\n",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edge.yaml"


def problem(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(EdgeSettings, file, {})
    return str(caught.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("written", TAKEN_FOR)
def test_a_name_that_yaml_takes_for_something_else_is_to_be_quoted(file: Path, place: str, written: str) -> None:
    hint = f'YAML reads {written} as {TAKEN_FOR[written]}: quote it, as in "{written}"'
    text = problem(file, PLACES[place].format(written))
    assert f"{place}: " in text
    assert hint in text
    file.write_text(PLACES["bundle"].format(f'"{written}"'))
    assert str(load_settings(EdgeSettings, file, {}).bundle) == written


@pytest.mark.parametrize("written", LOOKS_LIKE)
def test_what_only_looks_like_a_number_or_a_time_is_to_be_quoted_too(file: Path, written: str) -> None:
    text = problem(file, PLACES["cameras.0.name"].format(written))
    assert f"line 3: YAML takes {written} for a number or a time, and it is none: quote it" in text


@pytest.mark.parametrize("written", ["on", "12", "2024-01-01", "~"])
def test_a_setting_that_yaml_takes_for_something_else_is_to_be_quoted(file: Path, written: str) -> None:
    text = problem(file, f"bundle: b\n{written}: 1\n")
    assert f"line 2: YAML reads the name {written} as {TAKEN_FOR[written]}: quote it" in text


def test_a_kind_and_a_choice_that_yaml_takes_for_something_else_are_to_be_quoted(file: Path) -> None:
    assert "YAML reads off as true or false" in problem(file, "bundle: b\nlog_level: off\n")
    source = "bundle: b\ncameras: [{name: a, source: {kind: no}}]\n"
    assert "YAML reads no as true or false" in problem(file, source)


def test_a_flag_is_not_told_how_the_file_writes_another_value(file: Path) -> None:
    file.write_text("bundle: b\nspool: {folder: somewhere}\ncameras: [{name: a, source: {kind: submitted}}]\n")
    with pytest.raises(ConfigError, match=r"spool\.folder: .*YAML reads it as a number: quote it$"):
        load_settings(EdgeSettings, file, parse_assignments(["spool.folder=2024"]))


TWICE = [
    "bundle: a\ncloud: {}\nbundle: b\n",
    "cameras:\n- name: gate\n  name: yard\n",
    "cloud: {address: a:1, address: b:1}\n",
    "cameras: []\n'cameras': []\n",
    "a: {b: [{c: 1, d: 2, c: 1}]}\n",
    "a: &x {b: 1}\nc: {<<: *x, d: 1, d: 2}\n",
]


@pytest.mark.parametrize("text", TWICE)
def test_a_name_that_stands_twice_is_an_error_in_every_yaml_file(tmp_path: Path, file: Path, text: str) -> None:
    assert re.search(r"edge\.yaml .*'\w+' stands twice, in lines \d+ and \d+", problem(file, text))
    for read in (Tokens, read_yaml):
        with pytest.raises(ConfigError, match=r"edge\.yaml.* stands twice"):
            read(file)
    with pytest.raises(ConfigError, match="stands twice"):
        parse_assignments([f"a={text}"])


def test_a_name_that_stands_twice_in_an_environment_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICM_EDGE_CLOUD", '{"address": "a:1", "address": "b:1"}')
    with pytest.raises(ConfigError, match="'address' stands twice"):
        load_settings(EdgeSettings, None, {"bundle": "b"})


def test_what_is_taken_over_from_elsewhere_may_be_set_anew() -> None:
    text = "a: &x {b: 1, c: 2}\nd: &y {<<: *x, b: 3}\ne: {<<: *y, c: 4}\nf: *y\n"
    assert parse_yaml(text).values == yaml.safe_load(text)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_everything_else_is_read_as_yaml_says(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value)).values == value


@pytest.mark.parametrize(
    "text", ["url: *pa55w", "url: !pa55w x", "url: 'pa55w", "url: {pa55w: [", "url: pa55w: x", "pa55w"]
)
def test_what_is_wrong_is_told_without_what_may_be_secret(file: Path, text: str) -> None:
    assert "pa55w" not in problem(file, text)


@pytest.mark.parametrize("text", ["a: [", "a: \x01", "a: *b", "[" * 5000, "a: !b c", "a: 'b", "\ta: 1"])
def test_what_is_no_yaml_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
