from __future__ import annotations

from icm.service.backoff import Backoff


def test_waits_double_up_to_the_most_and_start_small_again_after_success() -> None:
    backoff = Backoff(1.0, 6.0)
    for full in (1.0, 2.0, 4.0, 6.0, 6.0):
        assert full / 2 <= backoff.next() <= full
    backoff.reset()
    assert backoff.next() <= 1.0
