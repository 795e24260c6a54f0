"""Frames between two looks: their boxes lie between those of the looks, where both saw the same objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cloud_service.detection.base import Detection
from cloud_service.processing.engine.base import Problem
from cloud_service.processing.engine.reuse import Look, ReuseBound

Boxes = NDArray[np.float64]

_APART = 0.7
"""The centres of an object's two boxes lie at most so far from each other, in sides of a square of the boxes' size,
once the first has gone on as it moved before."""
_ALIKE = 0.4
"""The two boxes' widths and heights, the lesser by the greater each, have at least this product."""
_SURE = 0.35
"""Objects of at least this score must be in both looks, else a frame between the two is looked at; others come and
go."""


@dataclass(frozen=True)
class Gap:
    """Looks of one lane in their order, of which the detector takes the last one, and took the first one before.

    Attributes:
        looks: one alone is the lane's first.
    """

    looks: Sequence[Look]

    @property
    def end(self) -> Look:
        """What the detector has to look at."""
        return self.looks[-1]

    def settle(self) -> list[Gap]:
        """Works out what is in the frames between the two that were looked at.

        Returns:
            Nothing, or the two halves of this gap, if its ends saw different objects: then the detector has to look at
            the end of the first half, and each half is to be settled in turn.
        """
        if len(self.looks) == 1:
            return []
        before, after, between = self.looks[0], self.looks[-1], self.looks[1:-1]
        for found in (before.found, after.found):
            if isinstance(found, Problem):
                for look in between:
                    look.found = found
        if not isinstance(before.found, tuple) or not isinstance(after.found, tuple):
            return []
        seconds = (after.capture_us - before.capture_us) / 1e6
        pairs = _pairs(before, before.found, after.found, seconds)
        if between and not _agree(before.found, after.found, pairs):
            middle = len(self.looks) // 2
            return [Gap(self.looks[: middle + 1]), Gap(self.looks[middle:])]
        for look in between:
            look.found = _between(before, before.found, after, after.found, pairs, look)
        _learn_motion(before.found, after, after.found, pairs, seconds)
        return []


def gaps(before: Look | None, fresh: Sequence[Look], bound: ReuseBound | None) -> list[Gap]:
    """Which of a lane's next looks the detector takes: the ends of what this returns.

    Args:
        before: the lane's last look, if there is one.
        fresh: those after it, in their order.
        bound: None, or one of no seconds, to look at each.
    """
    result: list[Gap] = []
    number = 0
    while number < len(fresh):
        looks = [fresh[number]] if before is None else [before, fresh[number]]
        if before is not None and bound is not None and _is_small_step(before, fresh[number], bound):
            for look in fresh[number + 1 :]:
                late = not 0 <= look.capture_us - before.capture_us <= bound.gap_seconds * 1e6
                if late or not _is_small_step(looks[-1], look, bound):
                    break
                looks.append(look)
                number += 1
        result.append(Gap(looks))
        before = looks[-1]
        number += 1
    return result


def _is_small_step(one: Look, other: Look, bound: ReuseBound) -> bool:
    """Whether at most a bounded share of positions changed from the one to the other."""
    if one.stream != other.stream or one.latents.quality != other.latents.quality:
        return False
    return float((one.latents.values != other.latents.values).any(0).mean()) <= bound.gap_change


def _pairs(
    before: Look, found: Sequence[Detection], found_after: Sequence[Detection], seconds: float
) -> list[tuple[int, int]]:
    """Which boxes of two looks are one object: numbers in the one and the other, of one class each."""
    if not found or not found_after:
        return []
    one, other = _boxes(found), _boxes(found_after)
    sizes, sizes_after = one[:, 2:] - one[:, :2], other[:, 2:] - other[:, :2]
    expected = (one[:, :2] + one[:, 2:]) / 2 + _motion_of(before) * seconds
    steps = expected[:, None] - (other[None, :, :2] + other[None, :, 2:]) / 2
    sides = (np.sqrt(sizes.prod(1))[:, None] + np.sqrt(sizes_after.prod(1))[None]) / 2
    apart = np.linalg.norm(steps, axis=2) / np.maximum(sides, 1e-9)
    lesser, greater = np.minimum(sizes[:, None], sizes_after[None]), np.maximum(sizes[:, None], sizes_after[None])
    alike = (lesser / np.maximum(greater, 1e-9)).prod(2)
    same_class = np.array([[a.class_name == b.class_name for b in found_after] for a in found])
    allowed = (apart < _APART) & (alike > _ALIKE) & same_class
    # As many pairs as there can be, and of those the nearest.
    costs = np.where(allowed, apart + (1 - alike) / 2 - 10, 0)
    return [(i, j) for i, j in zip(*map(np.ndarray.tolist, linear_sum_assignment(costs)), strict=True) if allowed[i, j]]


def _agree(found: Sequence[Detection], found_after: Sequence[Detection], pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether each of two looks saw all the sure objects that the other one saw."""
    paired, paired_after = {i for i, _ in pairs}, {j for _, j in pairs}
    lonely = [found[i] for i in range(len(found)) if i not in paired]
    lonely += [found_after[j] for j in range(len(found_after)) if j not in paired_after]
    return all(detection.score < _SURE for detection in lonely)


def _between(
    before: Look,
    found: Sequence[Detection],
    after: Look,
    found_after: Sequence[Detection],
    pairs: Sequence[tuple[int, int]],
    look: Look,
) -> tuple[Detection, ...]:
    """What is in a frame between two looks; an object that only one of them saw counts as there."""
    share = (look.capture_us - before.capture_us) / max(1, after.capture_us - before.capture_us)
    one, other = _boxes(found), _boxes(found_after)
    gone_on = one + np.tile(_motion_of(before) * (look.capture_us - before.capture_us) / 1e6, 2)
    result: list[tuple[Detection, Boxes]] = []
    for i, j in pairs:
        score = found[i].score * (1 - share) + found_after[j].score * share
        result.append((replace(found[i], score=score), one[i] * (1 - share) + other[j] * share))
    paired, paired_after = {i for i, _ in pairs}, {j for _, j in pairs}
    result += [(found[i], gone_on[i]) for i in range(len(found)) if i not in paired]
    result += [(found_after[j], other[j]) for j in range(len(found_after)) if j not in paired_after]
    size = look.latents.width, look.latents.height
    placed = ((detection, box.clip(0, (*size, *size)).tolist()) for detection, box in result)
    return tuple(
        Detection(detection.class_name, detection.score, left, top, right, bottom)
        for detection, (left, top, right, bottom) in placed
        if right > left and bottom > top
    )


def _learn_motion(
    found: Sequence[Detection],
    after: Look,
    found_after: Sequence[Detection],
    pairs: Sequence[tuple[int, int]],
    seconds: float,
) -> None:
    """Notes how the boxes of a look have moved since the one before."""
    after.motion = np.zeros((len(found_after), 2))
    if seconds > 0:
        moved = {j: (_boxes(found_after)[j] - _boxes(found)[i]).reshape(2, 2).mean(0) for i, j in pairs}
        for j, by in moved.items():
            after.motion[j] = by / seconds


def _motion_of(look: Look) -> Boxes:
    """Pixels a second of each of a look's boxes, float64[n, 2]; 0 where nothing is known."""
    if look.motion is not None:
        return look.motion
    return np.zeros((len(look.found) if isinstance(look.found, tuple) else 0, 2))


def _boxes(found: Sequence[Detection]) -> Boxes:
    """float64[n, 4]: left, top, right, bottom."""
    return np.array([(d.left, d.top, d.right, d.bottom) for d in found], np.float64).reshape(-1, 4)
