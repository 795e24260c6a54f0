"""What the edge's metrics say when what they ask cannot answer."""

from __future__ import annotations

import math

from prometheus_client import generate_latest

from edge_service.losses import DropReason
from edge_service.metrics import EdgeMetrics
from icm.errors import SpoolError


def test_a_spool_that_cannot_be_read_takes_only_its_own_gauges_away(metrics: EdgeMetrics, sample) -> None:
    def failing() -> int:
        raise SpoolError("the file is no database")

    metrics.watch_spool(lambda: 5.0, failing)
    metrics.add_camera("gate", failing)
    metrics.losses.frame("gate", DropReason.IMAGE)
    assert b"icm_edge_dropped_total" in generate_latest(metrics.registry)
    assert sample("icm_edge_spool_bytes") == 5
    assert math.isnan(sample("icm_edge_spool_oldest_seconds"))
    assert math.isnan(sample("icm_edge_last_detection_timestamp_seconds", camera="gate"))
    assert sample("icm_edge_dropped_total", camera="gate", reason="image") == 1
