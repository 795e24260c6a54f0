"""Objects that a detector saw for a second or more: a truth for clips that have none.

A detector that looks at every frame misses an object now and then and sees what is not there; what lasts is neither.
Boxes are linked from frame to frame, gaps of up to half a second are filled in between, and what lasted for less than
a second, or was mostly guessed, is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cloud_service.detection import Detection
from cloud_service.detection.coco import CLASSES

_OVERLAP = 0.3
_SCORE = 0.4
"""Least mean score of an object."""
_SEEN = 0.6
"""Least share of its frames in which it was seen."""

Boxes = NDArray[np.float64]
Track = list[tuple[int, Detection]]


def lasting_objects(found: Sequence[Sequence[Detection]], fps: int) -> dict[int, Boxes]:
    """Of each frame that has any, float64[K, 5]: class, left, top, right, bottom."""
    live: list[Track] = []
    ended: list[Track] = []
    for number, detections in enumerate(found):
        ended += [track for track in live if number - track[-1][0] > fps / 2]
        live = [track for track in live if number - track[-1][0] <= fps / 2]
        live += [[(number, detection)] for detection in _linked(live, number, detections)]
    truth: dict[int, list[tuple[float, ...]]] = {}
    for track in ended + live:
        frames = track[-1][0] - track[0][0] + 1
        if frames >= fps and len(track) >= _SEEN * frames and np.mean([d.score for _, d in track]) >= _SCORE:
            name = Counter(detection.class_name for _, detection in track).most_common(1)[0][0]
            for number, box in _filled(track):
                truth.setdefault(number, []).append((CLASSES.index(name), *box))
    return {number: np.array(boxes) for number, boxes in truth.items()}


def _linked(live: list[Track], number: int, detections: Sequence[Detection]) -> list[Detection]:
    """Adds a frame's boxes to the tracks that they go on with; returns those that go on with none."""
    left = dict(enumerate(detections))
    if live and detections:
        boxes = np.array([_box(detection) for detection in detections])
        overlaps = _overlaps(np.array([_expected(track, number) for track in live]), boxes)
        for i, j in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[i, j] > _OVERLAP:
                live[i].append((number, left.pop(int(j))))
    return list(left.values())


def _expected(track: Track, number: int) -> Boxes:
    """A track's box in a later frame, if it goes on as in its last six boxes."""
    last, earlier = track[-1], track[max(0, len(track) - 6)]
    if last[0] == earlier[0]:
        return _box(last[1])
    return _box(last[1]) + np.tile((_box(last[1]) - _box(earlier[1]))[:2] / (last[0] - earlier[0]), 2) * (
        number - last[0]
    )


def _filled(track: Track) -> list[tuple[int, Boxes]]:
    """A box for each frame from the first to the last."""
    filled = [(track[-1][0], _box(track[-1][1]))]
    for (number, one), (later, other) in pairwise(track):
        for frame in range(number, later):
            share = (frame - number) / (later - number)
            filled.append((frame, _box(one) * (1 - share) + _box(other) * share))
    return filled


def _box(detection: Detection) -> Boxes:
    return np.array((detection.left, detection.top, detection.right, detection.bottom))


def _overlaps(one: Boxes, other: Boxes) -> Boxes:
    """Intersection over union, float64[N, K]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    overlaps: Boxes = common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)
    return overlaps
