from __future__ import annotations

import logging

import pytest

from icm.service.clock import ManualClock
from icm.service.log_limit import REPEAT_SECONDS, LogLimit

log = logging.getLogger(__name__)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limit(clock: ManualClock) -> LogLimit:
    return LogLimit(log, logging.WARNING, clock)


def test_the_first_of_each_kind_is_told_at_once(limit: LogLimit, caplog: pytest.LogCaptureFixture) -> None:
    for kind, text in (("damaged", "record 1"), ("damaged", "record 2"), ("missing", "record 3")):
        limit.say(kind, text)
    assert caplog.messages == ["record 1", "record 3"]


def test_the_rest_is_counted_and_told_once_in_a_while(
    limit: LogLimit, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 101):
        limit.say("damaged", f"record {number}")
    clock.advance(REPEAT_SECONDS)
    limit.say("damaged", "record 101")
    limit.say("damaged", "record 102")
    assert caplog.messages == ["record 1", "record 101 (and 99 more like it since the last such line)"]


def test_what_was_held_back_is_told_at_the_end_and_only_once(limit: LogLimit, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        limit.say("damaged", f"record {number}")
    limit.say("missing", "record 4")
    limit.flush()
    limit.flush()
    assert caplog.messages == [
        "record 1",
        "record 4",
        "record 3 (and 1 more like it since the last such line)",
    ]
