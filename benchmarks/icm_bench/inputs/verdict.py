"""Whether what came of a file is what its judge shows of it, and whether what was lost was said."""

from __future__ import annotations

import signal
from types import FrameType

import numpy as np

from icm_bench.inputs.cases import Case, Picture
from icm_bench.inputs.judges import Ffmpeg, Judged, pillow
from icm_bench.inputs.product import Outcome, differs_at_the_edge, read

SECONDS = 30
"""After which a file hangs."""
_TIME = 0.002
_STUMBLE = 0.6
"""Share of the usual interval below which the judge's own line of time stumbles, as it does where frames without stamps
come."""
_BETWEEN = 1.6
"""Intervals by which times may differ there."""


def fault(case: Case, ffmpeg: Ffmpeg) -> str | None:
    """What is wrong with how the file is read; None if nothing is."""

    def hung(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(SECONDS)
    try:
        got = read(case.path)
        if case.whole is not None:
            return _of_damaged(case, got, ffmpeg)
        judged = ffmpeg.shows(case.path) if case.judge == "ffmpeg" else pillow(case.path)
        if case.truth is not None:
            judged = Judged([case.truth], None)
        return _of_whole(case, got, judged) or differs_at_the_edge(case.path, got)
    except TimeoutError:
        return f"hangs for {SECONDS} s"
    except Exception as error:
        # Whatever is raised beside the project's own errors is a fault of its own.
        return f"raises {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _of_whole(case: Case, got: Outcome, judged: Judged) -> str | None:
    if not judged.pictures and got.error is not None:
        return None
    if got.status:
        return f"status {got.status}: {got.error or got.missing}"
    if len(got.pictures) != len(judged.pictures):
        return f"{len(got.pictures)} pictures instead of {len(judged.pictures)}: {got.said}"
    for number, (one, other) in enumerate(zip(got.pictures, judged.pictures, strict=True)):
        if (difference := _difference(one, other)) is None:
            return f"picture {number} is {one.shape} instead of {other.shape}"
        if difference > case.tolerance:
            return f"picture {number} is off by {difference:.1f}"
    if judged.times is not None and not same_times(judged.times, got.times):
        return f"times {np.round(got.times, 3).tolist()} instead of {np.round(judged.times, 3).tolist()}"
    return None


def _of_damaged(case: Case, got: Outcome, ffmpeg: Ffmpeg) -> str | None:
    """Nothing is lost that the judge still shows, and what is lost is said."""
    try:
        judged = ffmpeg.shows(case.path) if case.judge == "ffmpeg" else pillow(case.path)
    except Exception:
        # The judge gives up where the project may not.
        judged = Judged([], None)
    came, shown, whole = len(got.pictures), len(judged.pictures), case.whole or 0
    if got.status == 0 and came < whole and not case.told_by_nothing:
        return f"{came} of {whole} pictures and not a word; the judge shows {shown}"
    if got.status == 0 and not all(map(np.array_equal, got.pictures, case.before or ())):
        return "other pictures than before the damage and not a word"
    # A decoder may make something or nothing of what was hit.
    if came + 2 < min(shown, whole):
        return f"{came} pictures, the judge shows {shown}: {got.error or got.missing}"
    return None


def _difference(one: Picture, other: Picture) -> float | None:
    """Mean absolute difference; None where sizes differ by more than how they are rounded."""
    if any(abs(a - b) > 1 for a, b in zip(one.shape, other.shape, strict=True)):
        return None
    height, width = np.minimum(one.shape, other.shape)[:2]
    return float(np.abs(one[:height, :width].astype(int) - other[:height, :width]).mean())


def same_times(judged: list[float], got: list[float]) -> bool:
    """Whether times rise, and are the judge's where its own do."""
    gaps, judges = np.diff(got), np.diff(judged)
    if (gaps <= 0).any():
        return False
    if len(judges) < 2 or judges.min() > _STUMBLE * np.median(judges):
        return np.allclose(judged, got, atol=_TIME)
    rises = np.concatenate([[True], np.array(judged[1:]) > np.maximum.accumulate(judged)[:-1]])
    return np.allclose(np.array(judged)[rises], np.array(got)[rises], atol=_BETWEEN * np.median(gaps))
