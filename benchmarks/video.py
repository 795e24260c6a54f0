"""``icm-bench video``: bitrate against what a detector finds on a still camera's clip, ours beside video codecs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks import detectors
from benchmarks.bd_rate import Curve, bd_rate
from benchmarks.report import RESULTS, print_table, write_json
from benchmarks.video_codecs.base import CodedClip, Picture, VideoCodec
from benchmarks.video_codecs.libav import anchors
from benchmarks.video_codecs.ours import OurVideoCodec
from benchmarks.video_plot import plot
from shared.codec.bundle import DEFAULT_BUNDLE, Bundle
from shared.errors import ConfigError
from training.evaluation.average_precision import MatchedDetections
from training.evaluation.detection import Detections, LabelledPhoto

PERSON = 0
MEASURES = ("ap50", "agreement")
SEEN = 0.25
"""Score from which on a box on the source counts as seen, for agreement."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    clip, fps = _read(options.clip, options.frames)
    looked_at = range(0, len(clip), options.every)
    detect = detectors.load(options.detector)
    truth = _truth(options.truth)
    source = [_persons(detect(clip[number])) for number in looked_at]
    empty = np.empty((0, 5))
    seen = [np.array([(PERSON, *box[2:]) for box in boxes if box[1] >= SEEN]).reshape(-1, 5) for boxes in source]
    labels = {"ap50": [truth.get(n, empty) for n in looked_at], "agreement": seen}
    rows = [_row("uncompressed", "-", None, fps, _worth(clip, looked_at, labels, source))]
    for codec in _codecs(options):
        for point in codec.points:
            coded = codec.code(clip, fps, point)
            found = [_persons(detect(coded.pictures[number])) for number in looked_at]
            rows.append(_row(codec.name, point, coded, fps, _worth(clip, looked_at, labels, found)))
            print_table(list(rows[-1]), [list(rows[-1].values())])
    figures: dict[str, Any] = {"frames": len(clip), "looked_at_every": options.every, "fps": fps}
    figures["rows"] = rows = _with_kept(options.results, figures, rows)
    figures["bd_rates"] = _bd_rates(rows)
    if figures["bd_rates"]:
        print_table(list(figures["bd_rates"][0]), [list(row.values()) for row in figures["bd_rates"]])
    plot(rows, options.results / "video.png")
    print(f"written to {write_json('video', figures, options.results)}")
    return 0


def _codecs(options: argparse.Namespace) -> list[VideoCodec]:
    codecs: list[VideoCodec] = []
    if "ours" in options.codecs:
        bundle = Bundle.load(options.bundle)
        for alone in (False, True):
            codecs.append(OurVideoCodec(bundle, alone=alone, framing=options.framing, points=tuple(options.points)))
    if "anchors" in options.codecs:
        codecs.extend(anchors())
    return codecs


def _read(path: Path, count: int) -> tuple[list[Picture], int]:
    """The first frames of a clip, uint8[H, W, 3] RGB, and its rate."""
    if not path.exists():
        raise ConfigError(f"there is no clip {path}")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = round(float(stream.average_rate or 10))
        frames = []
        for frame in container.decode(stream):
            frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(frames) == count:
                break
    return frames, fps


def _truth(path: Path) -> dict[int, NDArray[np.float64]]:
    """Boxes of persons by frame number from 0, float[K, 5] as in ``LabelledPhoto``; MOT text, frames from 1."""
    boxes: dict[int, list[tuple[float, ...]]] = {}
    for line in path.read_text().splitlines():
        frame, _, left, top, width, height, counts = (float(value) for value in line.split(",")[:7])
        if counts:
            boxes.setdefault(int(frame) - 1, []).append((PERSON, left, top, left + width, top + height))
    return {frame: np.array(found) for frame, found in boxes.items()}


def _persons(found: Detections) -> Detections:
    return [box for box in found if box[0] == PERSON]


def _worth(
    clip: Sequence[Picture],
    looked_at: Sequence[int],
    labels: dict[str, list[NDArray[np.float64]]],
    found: list[Detections],
) -> dict[str, float]:
    """AP50 of persons against the ground truth, and against what the detector saw on the source."""
    return {
        measure: MatchedDetections(
            [LabelledPhoto(str(n), clip[n], boxes) for n, boxes in zip(looked_at, truth, strict=True)], found
        ).precision().map50
        for measure, truth in labels.items()
    }  # fmt: skip


def _row(codec: str, point: str, coded: CodedClip | None, fps: int, worth: dict[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"codec": codec, "point": point}
    if coded is None:
        return row | {"kbit_per_second": None, **worth, "median_bytes": None, "encode_fps": None, "decode_fps": None}
    count = len(coded.frame_bytes)
    return row | {
        "kbit_per_second": round(sum(coded.frame_bytes) * 8 * fps / count / 1000, 2),
        **{measure: round(value, 4) for measure, value in worth.items()},
        "median_bytes": int(np.median(coded.frame_bytes)),
        "encode_fps": round(count / coded.encode_seconds, 1),
        "decode_fps": round(count / coded.decode_seconds, 1),
    }


def _with_kept(folder: Path, figures: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The new rows and, of an earlier run on the same frames, those of codecs that were not measured now."""
    path = folder / "video.json"
    if not path.exists():
        return rows
    earlier = json.loads(path.read_text())
    if any(earlier.get(key) != value for key, value in figures.items()):
        return rows
    measured = {row["codec"] for row in rows}
    return rows + [row for row in earlier["rows"] if row["codec"] not in measured]


def _bd_rates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of our codecs against every other, on both measures, in per cent."""
    names = list(dict.fromkeys(row["codec"] for row in rows if row["kbit_per_second"] is not None))
    tested = [name for name in names if name.endswith("records") or name.endswith("only")]
    return [
        {"codec": test, "against": anchor} | {measure: _difference(rows, anchor, test, measure) for measure in MEASURES}
        for test in tested
        for anchor in names
        if anchor != test
    ]


def _difference(rows: list[dict[str, Any]], anchor: str, test: str, measure: str) -> float | None:
    """BD-rate in per cent; None where the curves share no precision."""
    rate = bd_rate(_curve(rows, anchor, measure), _curve(rows, test, measure))
    return None if np.isnan(rate) else round(rate, 1)


def _curve(rows: list[dict[str, Any]], codec: str, measure: str) -> Curve:
    points = [row for row in rows if row["codec"] == codec]
    return Curve(
        np.array([row["kbit_per_second"] for row in points], float), np.array([row[measure] for row in points], float)
    )


def _point(text: str) -> str:
    """A point of ours as it was written; ValueError where it is none."""
    for number in text.split("@", 1):
        float(number)
    return text


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench video", description=__doc__)
    parser.add_argument("--clip", type=Path, required=True, help="a still camera's clip")
    parser.add_argument("--truth", type=Path, required=True, help="boxes of its persons, MOT Challenge text")
    parser.add_argument("--frames", type=int, default=400, help="how many frames are coded (default: %(default)s)")
    parser.add_argument(
        "--every", type=int, default=4, help="the detector sees every so manieth (default: %(default)s)"
    )
    parser.add_argument("--detector", type=Path, default=Path(".cache/weights/yolo26n.pt"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument(
        "--points",
        type=_point,
        nargs="+",
        default=["0@0.5", "0@0.75", "0", "0.5", "1", "1.5", "2", "3"],
        help="our quality levels, LEVEL or LEVEL@SCALE (default: %(default)s)",
    )
    parser.add_argument("--codecs", choices=("ours", "anchors"), nargs="+", default=["ours", "anchors"])
    parser.add_argument(
        "--framing",
        type=float,
        default=30.4,
        help="bytes a record costs on the wire beyond itself, as icm-bench framing says (default: %(default)s)",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
