"""``icm-bench reuse``: what frames cost the cloud in which little or nothing changed, and what it costs in detections.

Each clip is coded as an edge does it and goes through the cloud's engine twice in turn, once with a look at every
frame, once as it is by default: entropy decoding, synthesis, the detector, and with ``video`` the MP4. Both are given
as many records at once as wait where a cloud is busy. The quiet stretches of a clip are the quietest of its windows of
a second, by the share of positions whose latents change from a frame to the next.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cloud_service.archive.rendering import SegmentRenderer
from cloud_service.bundles import Bundles
from cloud_service.detection import Detection, Detector
from cloud_service.detection.coco import CLASSES
from cloud_service.detection.yolo import YoloDetector
from cloud_service.metrics import Metrics
from cloud_service.processing.engine.base import LaneId, Result, Work
from cloud_service.processing.engine.decoding import BatchDecoder
from cloud_service.processing.engine.in_process import InProcessEngine
from cloud_service.processing.engine.reuse import ReuseBound
from cloud_service.settings import YoloSettings
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder
from icm_bench.report import RESULTS, print_rows, write_json
from icm_bench.video.lasting import lasting_objects
from icm_bench.video.scenes import emptied, read_clip, read_truth
from icm_bench.video.video_codecs.base import Picture
from icm_train.evaluation.average_precision import MatchedDetections
from icm_train.evaluation.detection import Detections, LabelledPhoto

STAGES = ("decode", "synthesis", "detect", "archive")
_SEGMENT_SECONDS = 10
_PLAIN, _REUSED = "every frame", "reused"
_LEAST_FRAMES = 10
"""Of a window, however few frames a second a clip has."""
_VEHICLES = {CLASSES.index(name) for name in ("car", "bus", "truck", "train")}
"""One class where a clip has no truth: a detector takes the one for the other from frame to frame."""


@dataclass
class Run:
    """One way of looking through a clip.

    Attributes:
        found: of each frame, what was found in it or taken over.
        looked: numbers of the frames that the detector saw.
        interpolated: numbers of the frames whose detections were worked out.
        seconds: that each piece of work took, by its first frame's number.
        stages: seconds of each stage, the same way.
    """

    found: list[tuple[Detection, ...]] = field(default_factory=list)
    looked: set[int] = field(default_factory=set)
    interpolated: set[int] = field(default_factory=set)
    seconds: dict[int, float] = field(default_factory=dict)
    stages: dict[int, Counter[str]] = field(default_factory=dict)


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    bundle = Bundle.load(options.bundle, options.threads)
    usual = YoloSettings(kind="yolo", weights=options.detector)
    bound = ReuseBound.of(usual)
    assert bound is not None
    detector = YoloDetector(
        usual.weights, usual.confidence, usual.batch, usual.image_size, "cpu", options.threads, options.scratch
    )
    rows: list[dict[str, Any]] = []
    for path in options.clips:
        pictures, fps = read_clip(path, options.frames)
        truth_file = path.with_name(f"{path.stem}_gt_mot15.txt")
        truth = read_truth(truth_file) if truth_file.exists() else None
        for name, shown, known in (
            (path.stem, pictures, truth),
            *([(f"{path.stem}, emptied", emptied(pictures), None)] if options.emptied else []),
        ):
            for quality in options.qualities:
                rows += _measured(name, shown, fps, known, quality, bundle, detector, bound, options.quietest)
                print_rows(rows)
                print()
    figures = {"bundle": bundle.name, "detector": options.detector.stem, "bound": bound._asdict(), "rows": rows}
    print(f"written to {write_json('reuse', figures, options.results)}")
    return 0


def _measured(
    name: str,
    pictures: Sequence[Picture],
    fps: int,
    truth: dict[int, NDArray[np.float64]] | None,
    quality: float,
    bundle: Bundle,
    detector: Detector,
    bound: ReuseBound,
    part: float,
) -> list[dict[str, Any]]:
    """Rows for the whole clip and its quiet stretches, without video and with it."""
    height, width = pictures[0].shape[:2]
    header = StreamHeader(bundle.codec_id, "clip", 1, 0, width, height)
    encoder = Encoder(bundle)
    records = [
        encoder.encode(picture, quality).record(number, number * 1_000_000 // fps)
        for number, picture in enumerate(tqdm(pictures, desc=f"{name} {quality}", disable=None), 1)
    ]
    changed = _changed(bundle, records, width, height)
    parts = {"all": list(range(len(records))), f"quietest {part:.0%}": quietest(changed, part, max(fps, _LEAST_FRAMES))}
    cuts = sorted({0, len(records)}.union(*(_edges(numbers) for numbers in parts.values())))
    runs = {video: _both_ways(bundle, detector, bound, header, records, cuts, fps, video) for video in (False, True)}
    return [
        {
            "clip": name,
            "quality": quality,
            "part": which,
            "video": video,
            "frames": len(numbers),
            "changed": round(float(np.mean([changed[n] for n in numbers])), 4),
            "looked_at": round(len(runs[video][1].looked & set(numbers)) / len(numbers), 3),
            "interpolated": round(len(runs[video][1].interpolated & set(numbers)) / len(numbers), 3),
            **_speeds(*runs[video], numbers),
            **_worth(*runs[video], numbers, truth, (height, width), fps),
        }
        for (which, numbers), video in product(parts.items(), runs)
        if numbers
    ]


def _both_ways(
    bundle: Bundle,
    detector: Detector,
    bound: ReuseBound,
    header: StreamHeader,
    records: Sequence[Record],
    cuts: Sequence[int],
    fps: int,
    video: bool,
) -> tuple[Run, Run]:
    """A clip's records, with a look at each and as it is by default."""
    plain, reused = _Timed(bundle, detector, None, video), _Timed(bundle, detector, bound, video)
    for start, end in tqdm(list(_pieces(cuts, reused.batch, fps)), desc="engine", disable=None):
        # In turn, so that what else the machine does befalls both.
        for engine in (plain, reused):
            engine.give(header, records, start, end, ends=end == len(records))
    return plain.close(), reused.close()


def quietest(changed: Sequence[float], part: float, length: int) -> list[int]:
    """Numbers of the frames in the windows of ``length`` frames, one after the other, in which the least changes.

    Args:
        changed: of each frame, the share of positions that changed from the one before; of the first one 1.
        part: of all windows, rounded, but one at least if there is any.
    """
    starts = range(0, len(changed) - length + 1, length)
    still = sorted(starts, key=lambda start: sum(changed[start : start + length]))
    chosen = sorted(still[: max(1, round(part * len(starts)))])
    return [number for start in chosen for number in range(start, start + length)]


def _changed(bundle: Bundle, records: Sequence[Record], width: int, height: int) -> list[float]:
    """Of each frame, the share of positions whose latents differ from the frame before; 1 for the first."""
    decoder, shares = Decoder(bundle), [1.0]
    last = decoder.latents(records[0], width, height).values
    for record in records[1:]:
        values = decoder.latents(record, width, height).values
        shares.append(float((values != last).any(0).mean()))
        last = values
    return shares


class _Timed:
    """An engine that says what each piece of work took."""

    def __init__(self, bundle: Bundle, detector: Detector, bound: ReuseBound | None, video: bool) -> None:
        self._metrics, self._run, self._video = Metrics("bench"), Run(), video
        self._engine = InProcessEngine(
            decoder=BatchDecoder(Bundles([bundle])),
            detector=detector,
            renderer=SegmentRenderer(320),
            stage_seconds=self._metrics.stage_seconds,
            reuse=bound,
        )
        self.batch = self._engine.batch

    def give(self, header: StreamHeader, records: Sequence[Record], start: int, end: int, *, ends: bool) -> None:
        run, before = self._run, self._stages()
        segment = records[start].capture_us // (_SEGMENT_SECONDS * 1_000_000)
        work = Work(
            lane=LaneId("clip", "live"), segment=segment, header=header, records=tuple(records[start:end]),
            starts=start == 0, ends=ends or records[end].capture_us // (_SEGMENT_SECONDS * 1_000_000) != segment,
            keyframe=None, detect=True, archive=self._video,
        )  # fmt: skip
        began = time.perf_counter()
        result: Result = self._engine.submit(work).result()
        run.seconds[start] = time.perf_counter() - began
        run.stages[start] = self._stages() - before
        for number, frame in enumerate(result.frames, start):
            assert frame.detections is not None, frame.problem
            run.found.append(frame.detections)
            if frame.interpolated:
                run.interpolated.add(number)
            elif frame.reused_from is None:
                run.looked.add(number)

    def close(self) -> Run:
        self._engine.close()
        return self._run

    def _stages(self) -> Counter[str]:
        value = self._metrics.registry.get_sample_value
        return Counter({stage: value("icm_cloud_stage_seconds_sum", {"stage": stage}) or 0.0 for stage in STAGES})


def _speeds(plain: Run, reused: Run, numbers: Sequence[int]) -> dict[str, float]:
    """Frames a second both ways, their ratio, and milliseconds a frame of each stage."""
    starts = [number for number in numbers if number in plain.seconds]
    took = {which: sum(of.seconds[n] for n in starts) for which, of in ((_PLAIN, plain), (_REUSED, reused))}
    row = {f"fps, {which}": round(len(numbers) / seconds, 1) for which, seconds in took.items()}
    row["ratio"] = round(took[_PLAIN] / took[_REUSED], 2)
    for which, of in ((_PLAIN, plain), (_REUSED, reused)):
        stages = sum((of.stages[n] for n in starts), Counter[str]())
        row |= {f"{stage} ms, {which}": round(1000 * stages[stage] / len(numbers), 1) for stage in STAGES}
    return row


def _worth(
    plain: Run,
    reused: Run,
    numbers: Sequence[int],
    truth: dict[int, NDArray[np.float64]] | None,
    size: tuple[int, int],
    fps: int,
) -> dict[str, float | None]:
    """AP50 both ways: of persons against the ground truth, and of all classes against what lasts."""
    blank, empty = np.zeros((*size, 3), np.uint8), np.empty((0, 5))

    def precision(found: Run, known: dict[int, NDArray[np.float64]], persons: bool) -> float | None:
        labels = [known.get(n, empty) for n in numbers]
        if not any(map(len, labels)):
            return None
        photos = [LabelledPhoto(str(n), blank, boxes) for n, boxes in zip(numbers, labels, strict=True)]
        return round(MatchedDetections(photos, [_boxes(found.found[n], persons) for n in numbers]).precision().map50, 4)

    lasting = lasting_objects(plain.found, fps)
    for boxes in lasting.values():
        boxes[:, 0] = [_class(int(number)) for number in boxes[:, 0]]
    ways = (_PLAIN, plain), (_REUSED, reused)
    of_truth = {f"ap50, {which}": None if truth is None else precision(of, truth, persons=True) for which, of in ways}
    return of_truth | {f"lasting, {which}": precision(of, lasting, persons=False) for which, of in ways}


def _class(number: int) -> int:
    return min(_VEHICLES) if number in _VEHICLES else number


def _boxes(found: Sequence[Detection], persons: bool) -> Detections:
    return [
        (_class(CLASSES.index(d.class_name)), d.score, d.left, d.top, d.right, d.bottom)
        for d in found
        if not persons or d.class_name == "person"
    ]


def _edges(numbers: Sequence[int]) -> set[int]:
    """Where a stretch begins or ends."""
    return (
        {numbers[0], numbers[-1] + 1}.union(*({one + 1, other} for one, other in pairwise(numbers) if other != one + 1))
        if numbers
        else set()
    )


def _pieces(cuts: Sequence[int], batch: int, fps: int) -> Iterator[tuple[int, int]]:
    """First frame and end of each piece of work: a batch at most, within a segment, and cut where a stretch is."""
    for start, end in pairwise(cuts):
        while start < end:
            of_segment = start + 1
            while of_segment < end and (of_segment + 1) // (fps * _SEGMENT_SECONDS) == (start + 1) // (
                fps * _SEGMENT_SECONDS
            ):
                of_segment += 1
            stop = min(start + batch, of_segment)
            yield start, stop
            start = stop


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench reuse", description=__doc__)
    parser.add_argument(
        "clips",
        type=Path,
        nargs="+",
        metavar="CLIP",
        help="videos of still cameras; NAME_gt_mot15.txt beside one holds the boxes of its persons",
    )
    parser.add_argument("--detector", type=Path, default=Path(".cache/weights/yolo26n.pt"), help="a YOLO .pt file")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--qualities", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--frames", type=int, default=1000, help="of each clip, at most (default: %(default)s)")
    parser.add_argument(
        "--quietest", type=float, default=0.2, help="share of a clip's windows of a second (default: %(default)s)"
    )
    parser.add_argument(
        "--emptied", action="store_true", help="also measure each clip's background alone, under the clip's noise"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=Path(".cache/ultralytics"), help="a folder for the detector")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
