"""The soak's judgement: growth once warm is seen, what comes before that is not held against a service."""

from __future__ import annotations

import os

import pytest

from icm_bench.delivery.soak import LIMIT_MB_PER_HOUR, Row, Sample


def samples(*rss_mb: float) -> list[Sample]:
    """One a minute."""
    return [Sample(60.0 * minute, rss, 10, 20 + minute % 2) for minute, rss in enumerate(rss_mb)]


def test_memory_that_settles_after_the_start_does_not_count_as_growth() -> None:
    row = Row.of("icm-cloud", samples(100, 150, 180, *[200] * 7))
    assert abs(row.mb_per_hour) < LIMIT_MB_PER_HOUR
    assert (row.first_mb, row.last_mb, row.peak_mb, row.threads, row.files) == (200, 200, 200, 0, 1)


def test_memory_that_grows_to_the_end_is_seen() -> None:
    assert Row.of("icm-cloud", samples(*range(100, 110))).mb_per_hour == pytest.approx(60)


def test_a_sample_tells_what_a_process_holds() -> None:
    before = Sample.of(os.getpid(), 1.0)
    ballast, opened = bytearray(os.urandom(50 << 20)), os.dup(0)
    after = Sample.of(os.getpid(), 2.0)
    os.close(opened)
    assert after.rss_mb - before.rss_mb > 40 < len(ballast)
    assert after.files == before.files + 1
    assert before.threads >= 1
