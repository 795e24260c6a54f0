"""A process whose wall clock is moved sees the other time, and measures spans as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from icm_bench.delivery.moved_clock import MovedClock

TELL = """
import sys, time
for _ in sys.stdin:
    print(time.time_ns() // 10**9, time.monotonic(), flush=True)
"""


def test_a_clock_jumps_ahead_and_back_and_the_monotonic_one_does_not(tmp_path: Path) -> None:
    clock = MovedClock(tmp_path / "clock")
    environment = {**os.environ, **clock.environment}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", TELL], env=environment, text=True, **pipes) as process:
        told = []
        for offset in (0.0, 86_400.0, -3_600.0):
            clock.jump(offset)
            told.append(ask(process))
        process.communicate()
    (start, monotonic), (ahead, _), (behind, later) = told
    assert 86_400 <= ahead - start < 86_460
    assert -3_600 <= behind - start < -3_540
    assert 0 <= later - monotonic < 60


def ask(process: subprocess.Popen[str]) -> tuple[int, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    seconds, monotonic = process.stdout.readline().split()
    return int(seconds), float(monotonic)
