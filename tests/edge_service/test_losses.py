"""How frames that do not arrive are counted."""

from __future__ import annotations

from edge_service.losses import DropReason
from edge_service.metrics import EdgeMetrics


def test_every_reason_shows_at_zero_before_the_first_loss(metrics: EdgeMetrics, sample) -> None:
    metrics.losses.show("gate")
    assert {sample("icm_edge_dropped_total", camera="gate", reason=reason.value) for reason in DropReason} == {0}
    for outcome in ("rate_limited", "rate_controlled", "dropped", "refused"):
        assert sample("icm_edge_frames_total", camera="gate", outcome=outcome) == 0


def test_a_frame_that_was_not_spooled_is_a_dropped_frame_and_a_record_that_was_is_none(
    metrics: EdgeMetrics, sample
) -> None:
    metrics.losses.frame("gate", DropReason.QUEUE_FULL)
    metrics.losses.records("gate", DropReason.SPOOL_AGED, 3)
    assert sample("icm_edge_frames_total", camera="gate", outcome="dropped") == 1
    assert sample("icm_edge_dropped_total", camera="gate", reason="queue_full") == 1
    assert sample("icm_edge_dropped_total", camera="gate", reason="spool_aged") == 3


def test_frames_that_are_left_out_or_refused_on_purpose_are_no_drops(metrics: EdgeMetrics, sample) -> None:
    metrics.losses.show("gate")
    metrics.losses.rate_limited("gate")
    metrics.losses.rate_controlled("gate")
    metrics.losses.refused("gate")
    assert sample("icm_edge_frames_total", camera="gate", outcome="rate_limited") == 1
    assert sample("icm_edge_frames_total", camera="gate", outcome="rate_controlled") == 1
    assert sample("icm_edge_frames_total", camera="gate", outcome="refused") == 1
    assert sample("icm_edge_frames_total", camera="gate", outcome="dropped") == 0
