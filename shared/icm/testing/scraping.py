"""Reads what a service says about itself on /metrics."""

from __future__ import annotations

import math
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Never asks a proxy of the environment for what is on this machine."""


@dataclass(frozen=True)
class Sample:
    """One line of /metrics."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        """Takes the body that /metrics answered with.

        Raises:
            ValueError: it is not in Prometheus' text format.
        """
        self.samples = [
            Sample(sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    @staticmethod
    def scrape(port: int) -> Metrics:
        """Asks a service on this machine.

        Raises:
            OSError: it does not answer within five seconds.
        """
        with DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return Metrics(answer.read().decode())

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that carry these labels; 0 where there is none."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """The same, apart for each value of a label."""
        sums: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name:
                value = sample.labels.get(label, "")
                sums[value] = sums.get(value, 0.0) + sample.value
        return sums

    def quantile(self, name: str, q: float) -> float | None:
        """A quantile of a histogram, over all its labels, as Prometheus' ``histogram_quantile`` estimates it.

        That is: linear within a bucket; the last finite bound for what lies above it; None while it is empty.
        """
        buckets = {
            math.inf if bound == "+Inf" else float(bound): n for bound, n in self.by(f"{name}_bucket", "le").items()
        }
        bounds = sorted(buckets)
        if not bounds or buckets[bounds[-1]] == 0:
            return None
        rank = q * buckets[bounds[-1]]
        lower, below = 0.0, 0.0
        for bound in bounds:
            if buckets[bound] >= rank and buckets[bound] > below:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * (rank - below) / (buckets[bound] - below)
            lower, below = bound, buckets[bound]
        return lower
