"""Named spans of wall time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np


class Timer:
    """Collects spans by name, in milliseconds."""

    def __init__(self) -> None:
        self.spans: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.spans[name].append(1000 * (time.perf_counter() - started))


def percentiles(spans: Sequence[float]) -> dict[str, float]:
    """p50 and p95 as columns of a table."""
    p50, p95 = np.percentile(spans, [50, 95])
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}
