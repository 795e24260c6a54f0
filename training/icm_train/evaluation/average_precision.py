"""COCO average precision, and of any resampling of the photos without matching boxes again."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import faster_coco_eval.faster_eval_api_cpp as matching
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from icm_train.evaluation.detection import CLASSES, Detections, LabelledPhoto


class Precision(NamedTuple):
    """mAP50-95 and mAP50 over all classes, 0..1."""

    map: float
    map50: float


class MatchedDetections:
    """Detections matched with the labels of their photos once, as pycocotools matches them."""

    def __init__(self, photos: Sequence[LabelledPhoto], found: Sequence[Detections]) -> None:
        """Matches the detections of each photo, in the photos' order."""
        self._count = len(photos)
        self._matches: list[Any] = []
        truths, boxes = _as_coco(photos, found)
        self._classes = sorted({truth["category_id"] for truth in truths["annotations"]})
        if not boxes or not self._classes:
            return
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(truths)
            evaluation = COCOeval_faster(
                truth, truth.loadRes(boxes), iouType="bbox", print_function=lambda *_: None,
                separate_eval=True,
            )  # fmt: skip
            # Of what COCO reports, mAP needs only boxes of any size and up to 100 of them.
            evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
            evaluation.params.maxDets = [100]
            # A class without an object anywhere has no precision.
            evaluation.params.catIds = self._classes
            evaluation.evaluate()
        self._parameters = evaluation._paramsEval
        # One match a class and photo, classes outside, photos inside.
        self._matches = evaluation._evalImgs_cpp

    def precision(self, chosen: NDArray[np.int64] | None = None) -> Precision:
        """Average precision over the chosen photos, by default all.

        Args:
            chosen: int64[K], numbers of photos; one named twice counts twice.
        """
        if not self._matches:
            return Precision(0.0, 0.0)
        numbers = range(self._count) if chosen is None else chosen.tolist()
        matches = [self._matches[kind * self._count + photo] for kind in range(len(self._classes)) for photo in numbers]
        parameters = self._parameters
        parameters.imgIds = list(range(len(numbers)))
        precision = np.asarray(matching.COCOevalAccumulate(parameters, matches)["precision"])
        return Precision(_mean_of_defined(precision), _mean_of_defined(precision[0]))


def _mean_of_defined(precision: NDArray[np.float64]) -> float:
    """Classes without any object in the sample are marked -1 and do not count."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else 0.0


def _as_coco(
    photos: Sequence[LabelledPhoto], found: Sequence[Detections]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number, (photo, detections) in enumerate(zip(photos, found, strict=True), start=1):
        height, width = photo.image.shape[:2]
        images.append({"id": number, "width": width, "height": height, "file_name": photo.name})
        for kind, left, top, right, bottom in photo.boxes.tolist():
            box = [left, top, right - left, bottom - top]
            truths.append(
                {"id": len(truths) + 1, "image_id": number, "category_id": int(kind), "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
        for kind, score, left, top, right, bottom in detections:
            box = [left, top, right - left, bottom - top]
            boxes.append({"image_id": number, "category_id": int(kind), "bbox": box, "score": score})
    categories = [{"id": number, "name": str(number)} for number in range(CLASSES)]
    return {"images": images, "annotations": truths, "categories": categories}, boxes
