"""What ``/healthz`` says."""

from __future__ import annotations

from icm.service.health import Problems


def test_a_problem_is_news_until_it_says_the_same_again_and_gone_once_cleared() -> None:
    problems = Problems()
    gate, door = problems.part("spool", "gate"), problems.part("spool", "door")
    assert gate.report("full")
    assert not gate.report("full")
    assert gate.report("fuller")
    assert door.report("damaged")
    assert problems.lines() == ["spool of door: damaged", "spool of gate: fuller"]
    assert gate.clear()
    assert not gate.clear()
    assert problems.lines() == ["spool of door: damaged"]


def test_who_asks_for_a_part_again_gets_the_same() -> None:
    problems = Problems()
    problems.part("database").report("it does not answer")
    assert problems.part("database").clear()
    assert problems.lines() == []


def test_counts_that_grow_while_a_problem_lasts_are_shown_but_are_no_news() -> None:
    problems = Problems()
    uplink = problems.part("uplink")
    assert uplink.report("the cloud refuses; 9 records wait, and 0 behind them")
    assert not uplink.report("the cloud refuses; 14 records wait, and 250 behind them")
    assert problems.lines() == ["uplink: the cloud refuses; 14 records wait, and 250 behind them"]
    assert uplink.report("the cloud is away; 14 records wait, and 250 behind them")
