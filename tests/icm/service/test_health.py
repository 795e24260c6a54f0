from __future__ import annotations

from icm.service.health import Problems


def test_a_problem_is_news_once_and_so_is_its_end() -> None:
    problems = Problems()
    assert problems.report("camera gate", "dark")
    assert not problems.report("camera gate", "dark")
    assert problems.report("camera gate", "darker")
    assert problems.report("camera door", "shut")
    assert problems.lines() == ["camera door: shut", "camera gate: darker"]
    assert problems.clear("camera gate")
    assert not problems.clear("camera gate")
    assert problems.lines() == ["camera door: shut"]


def test_counts_that_grow_while_a_problem_lasts_are_shown_but_are_no_news() -> None:
    problems = Problems()
    assert problems.report("uplink", "the cloud refuses; 9 records wait, and 0 behind them")
    assert not problems.report("uplink", "the cloud refuses; 14 records wait, and 250 behind them")
    assert problems.lines() == ["uplink: the cloud refuses; 14 records wait, and 250 behind them"]
    assert problems.report("uplink", "the cloud is away; 14 records wait, and 250 behind them")
