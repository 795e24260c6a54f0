"""Every command of icm-cloud takes times alike: with their zone, or not at all."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from cloud_service.cli import main
from cloud_service.commands import _parser
from cloud_service.time_arguments import add_time_argument, microseconds_of


def options(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[tuple[str, ...], argparse.Action]]:
    """All options of all commands, each with the words of its command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from options(sub, *words, name)
        else:
            yield words, action


TIMES = [(words, action.option_strings[0]) for words, action in options(_parser()) if action.metavar == "TIME"]


def test_all_commands_that_take_times_are_known_here() -> None:
    assert {" ".join(words) for words, _ in TIMES} == {
        "render", "export", "holds add", "retention explain", "redetect", "verify",
    }  # fmt: skip
    assert len(TIMES) == 12


@pytest.mark.parametrize(
    ("words", "flag"), TIMES, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-03T15:00", "write it as 2026-11-03T15:00:00Z for UTC, or as 2026-11-03T15:00:00+01:00"),
        ("2026-11-03", "has no time zone: write it as 2026-11-03T00:00:00Z for UTC"),
        ("noon", "'noon' is no time: write it as 2026-11-03T15:00Z"),
        ("9" * 5000, "is no time"),
        ("1969-12-31T23:59Z", "is not between the years 1970 and 9999"),
        ("9999-12-31T23:00-14:00", "is not between the years 1970 and 9999"),
        ("0001-01-01T00:00+14:00", "is not between the years 1970 and 9999"),
    ],
)  # fmt: skip
def test_what_is_no_time_with_its_zone_is_refused_with_what_to_write(
    words: tuple[str, ...], flag: str, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, flag, text])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {flag}: " in error
    assert said in error
    assert len(error) < 2000


@pytest.mark.parametrize(
    ("words", "flag"), TIMES, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_the_help_says_that_the_zone_is_to_be_given(
    words: tuple[str, ...], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    assert f"{flag} TIME" in (text := " ".join(capsys.readouterr().out.split()))
    assert "with its zone, such as 2026-11-03T15:00Z" in text


@pytest.mark.parametrize(
    "text", ["2026-11-03T15:00Z", "2026-11-03T16:00+01:00", "20261103T150000Z", "2026-11-03 15:00Z"]
)
def test_a_time_with_its_zone_is_the_same_moment_however_it_is_written(text: str) -> None:
    parser = argparse.ArgumentParser()
    add_time_argument(parser, "--from", "when", dest="start")
    found = parser.parse_args(["--from", text]).start
    assert found == datetime(2026, 11, 3, 15, tzinfo=UTC)
    assert found.tzinfo is UTC
    assert microseconds_of(found) == 1_793_718_000_000_000
