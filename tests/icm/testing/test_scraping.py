"""Reading /metrics: sums by label, and quantiles as Prometheus estimates them."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from icm.service.telemetry import TelemetryServer
from icm.testing.scraping import Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    frames = Counter("icm_edge_frames", "Frames.", ["camera", "outcome"], registry=registry)
    frames.labels("a", "spooled").inc(3)
    frames.labels("b", "spooled").inc(4)
    frames.labels("b", "dropped").inc()
    latency = Histogram("latency_seconds", "Latency.", ["camera"], buckets=(1.0, 2.0, 4.0), registry=registry)
    Histogram("empty_seconds", "Nothing yet.", buckets=(1.0,), registry=registry)
    for camera, value in (("a", 0.5), ("a", 1.5), ("b", 1.5), ("b", 3.0)):
        latency.labels(camera).observe(value)
    return registry


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    server = TelemetryServer("127.0.0.1:0", registry, list)
    server.start()
    try:
        return Metrics.scrape(server.port)
    finally:
        server.stop()


def test_samples_are_summed_over_the_labels_that_are_not_asked_for(metrics: Metrics) -> None:
    assert metrics.total("icm_edge_frames_total", outcome="spooled") == 7
    assert metrics.total("icm_edge_frames_total", camera="b") == 5
    assert metrics.total("icm_edge_frames_total", camera="c") == 0
    assert metrics.by("icm_edge_frames_total", "camera") == {"a": 3, "b": 5}
    assert "latency_seconds_bucket" in metrics.names


def test_a_quantile_is_linear_within_its_bucket(metrics: Metrics) -> None:
    assert metrics.quantile("latency_seconds", 0.25) == 1.0
    assert metrics.quantile("latency_seconds", 0.5) == 1.5
    assert metrics.quantile("latency_seconds", 1.0) == 4.0


def test_a_quantile_above_all_bounds_is_the_last_bound() -> None:
    lines = 'x_bucket{le="1.0"} 0.0\nx_bucket{le="+Inf"} 5.0\n'
    assert Metrics(lines).quantile("x", 0.5) == 1.0


def test_an_empty_or_unknown_histogram_has_no_quantile(metrics: Metrics) -> None:
    assert metrics.quantile("empty_seconds", 0.5) is None
    assert metrics.quantile("unknown_seconds", 0.5) is None
