"""``icm-bench video``: bitrate against what a detector finds, ours beside video codecs, on clips easy and hard."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm_bench import detectors
from icm_bench.accuracy.bd_rate import Curve, bd_rate
from icm_bench.report import RESULTS, print_table, write_json
from icm_bench.video.plot import plot
from icm_bench.video.scenes import HARD, Clip, Scene, load, names
from icm_bench.video.video_codecs.base import CodedClip, VideoCodec
from icm_bench.video.video_codecs.libav import anchors
from icm_bench.video.video_codecs.ours import OurVideoCodec
from icm_bench.video.video_codecs.vvc import VvcVideo
from icm_train.evaluation.average_precision import MatchedDetections
from icm_train.evaluation.detection import Detect, Detections, LabelledPhoto

MEASURES = ("ap50", "agreement")
RATES = ("kbit_per_second", "bare_kbit_per_second")
"""On a link, and of the coded frames alone."""
SEEN = 0.25
"""Score from which on a box on the source counts as seen, for agreement."""


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    detect = detectors.load(options.detector)
    for name in options.scenes:
        scene, clip = load(name, options.data)
        rows = _measured(name, scene, clip, detect, options)
        kept = _kept(options.results / "video.json", name, {row["codec"] for row in rows})
        figures = {"rows": kept + rows}
        figures["rows"].sort(key=lambda row: names().index(row["scene"]))
        figures["bd_rates"] = _bd_rates(figures["rows"])
        print_table(
            list(figures["bd_rates"][0]) if figures["bd_rates"] else [],
            [list(row.values()) for row in figures["bd_rates"] if row["scene"] == name],
        )
        plot(figures["rows"], options.results / "video.png")
        print(f"written to {write_json('video', figures, options.results)}")
    return 0


def _measured(name: str, scene: Scene, clip: Clip, detect: Detect, options: argparse.Namespace) -> list[dict[str, Any]]:
    looked_at = range(0, len(clip.pictures), scene.every)
    source = [_wanted(detect(clip.pictures[number]), scene) for number in looked_at]
    empty = np.empty((0, 5))
    labels = {
        "agreement": [
            np.array([(box[0], *box[2:]) for box in boxes if box[1] >= SEEN]).reshape(-1, 5) for boxes in source
        ]
    }
    if clip.truth is not None:
        labels["ap50"] = [clip.truth.get(number, empty) for number in looked_at]
    rows = [_row(name, "uncompressed", "-", None, clip, _worth(clip, looked_at, labels, source))]
    for codec in _codecs(options, few=name.partition(":")[2] in HARD):
        for point in codec.points:
            coded = codec.code(clip.pictures, clip.fps, point)
            found = [_wanted(detect(coded.pictures[number]), scene) for number in looked_at]
            rows.append(_row(name, codec.name, point, coded, clip, _worth(clip, looked_at, labels, found)))
            print_table(list(rows[-1]), [list(rows[-1].values())])
    return rows


def _codecs(options: argparse.Namespace, few: bool) -> list[VideoCodec]:
    codecs: list[VideoCodec] = []
    if "ours" in options.codecs:
        bundle = Bundle.load(options.bundle)
        codecs.append(OurVideoCodec(bundle, points=tuple(options.points), kept=options.kept))
    if "anchors" in options.codecs:
        codecs.extend(anchors(few))
    if "vvc" in options.codecs:
        codecs.append(VvcVideo(options.vvenc))
    return codecs


def _wanted(found: Detections, scene: Scene) -> Detections:
    return [box for box in found if box[0] in scene.classes]


def _worth(
    clip: Clip, looked_at: Sequence[int], labels: dict[str, list[NDArray[np.float64]]], found: list[Detections]
) -> dict[str, float]:
    """AP50 against the ground truth, where there is one, and against what the detector saw on the source."""
    return {
        measure: MatchedDetections(
            [LabelledPhoto(str(n), clip.pictures[n], boxes) for n, boxes in zip(looked_at, truth, strict=True)], found
        ).precision().map50
        for measure, truth in labels.items()
    }  # fmt: skip


def _row(
    scene: str, codec: str, point: str, coded: CodedClip | None, clip: Clip, worth: dict[str, float]
) -> dict[str, Any]:
    row: dict[str, Any] = {"scene": scene, "codec": codec, "point": point}
    rounded = {measure: round(worth[measure], 4) if measure in worth else None for measure in MEASURES}
    if coded is None:
        return row | dict.fromkeys(RATES) | {**rounded, "median_bytes": None, "first_bytes": None, "encode_fps": None}
    count = len(coded.frame_bytes)
    sizes = zip(RATES, (coded.wire_bytes, coded.frame_bytes), strict=True)
    return row | {
        **{rate: round(sum(each) * 8 * clip.fps / count / 1000, 2) for rate, each in sizes},
        **rounded,
        "median_bytes": int(np.median(coded.frame_bytes)),
        "first_bytes": coded.frame_bytes[0],
        "encode_fps": round(count / coded.encode_seconds, 1),
    }


def _kept(path: Path, scene: str, measured: set[str]) -> list[dict[str, Any]]:
    """Rows of an earlier run: of other scenes, and of this one those of codecs that were not measured now."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return [
        row for row in rows if row.get("scene") in names() and (row["scene"] != scene or row["codec"] not in measured)
    ]


def _bd_rates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of our codecs against every other, scene by scene, on both measures, in per cent."""
    result = []
    for scene in dict.fromkeys(row["scene"] for row in rows):
        here = [row for row in rows if row["scene"] == scene and row["kbit_per_second"] is not None]
        codecs = list(dict.fromkeys(row["codec"] for row in here))
        for test in (name for name in codecs if name.startswith("icm")):
            for anchor in (name for name in codecs if name != test):
                rates = {
                    measure + suffix: _difference(here, anchor, test, measure, rate)
                    for rate, suffix in zip(RATES, ("", "_bare"), strict=True)
                    for measure in MEASURES
                }
                result.append({"scene": scene, "codec": test, "against": anchor} | rates)
    return result


def _difference(rows: list[dict[str, Any]], anchor: str, test: str, measure: str, rate: str) -> float | None:
    """BD-rate in per cent; None where the curves share no precision, or nobody knows the truth."""
    if any(row[measure] is None for row in rows):
        return None
    difference = bd_rate(_curve(rows, anchor, measure, rate), _curve(rows, test, measure, rate))
    return None if np.isnan(difference) else round(difference, 1)


def _curve(rows: list[dict[str, Any]], codec: str, measure: str, rate: str) -> Curve:
    points = [row for row in rows if row["codec"] == codec]
    return Curve(np.array([row[rate] for row in points], float), np.array([row[measure] for row in points], float))


def _point(text: str) -> str:
    """A point of ours as it was written; ValueError where it is none."""
    for number in text.split("@", 1):
        float(number)
    return text


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench video", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the clips and their ground truth")
    parser.add_argument("--scenes", nargs="+", default=names(), metavar="SCENE", help="default: %(default)s")
    parser.add_argument("--detector", type=Path, default=Path(".cache/weights/yolo26n.pt"))
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument(
        "--points",
        type=_point,
        nargs="+",
        default=["0@0.5", "0@0.75", "0", "0.5", "1", "1.5", "2", "3"],
        help="our quality levels, LEVEL or LEVEL@SCALE (default: %(default)s)",
    )
    parser.add_argument("--codecs", choices=("ours", "anchors", "vvc"), nargs="+", default=["ours", "anchors"])
    parser.add_argument("--vvenc", type=Path, default=Path("vvencapp"), help="VVenC's program, for vvc")
    parser.add_argument(
        "--kept", type=Path, help="folder where our coded streams are kept and read again; empty it for a new encoder"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
