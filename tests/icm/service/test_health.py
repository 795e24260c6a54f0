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
