"""``icm-bench rate-accuracy``: bits per pixel against what frozen detectors still find, ours beside other codecs."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import ConfigError
from icm_bench import detectors
from icm_bench.accuracy.comparison import Curves, bd_rows, finetuning_rows, point_row
from icm_bench.accuracy.measurement import Measurements
from icm_bench.accuracy.picture_codecs.base import PictureCodec
from icm_bench.accuracy.picture_codecs.files import QUALITIES, FileCodec
from icm_bench.accuracy.picture_codecs.hevc import QUANTISERS as HEVC_QUANTISERS
from icm_bench.accuracy.picture_codecs.hevc import HevcIntra
from icm_bench.accuracy.picture_codecs.ours import UNFINETUNED, OurCodec
from icm_bench.accuracy.picture_codecs.source import Source
from icm_bench.accuracy.picture_codecs.vvc import QUANTISERS as VVC_QUANTISERS
from icm_bench.accuracy.picture_codecs.vvc import VvcIntra
from icm_bench.accuracy.rate_accuracy_plot import plot
from icm_bench.report import RESULTS, print_rows, write_json
from icm_train.evaluation.detection import load_photos

ANCHORS = (*QUALITIES, "HEVC", "VVC")
DETECTORS = (Path(".cache/weights/yolo26n.pt"),)


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    photos = load_photos(options.photos)[: options.first]
    keys = {f"{path.stem}-{_digest(path)}": path for path in options.detector or DETECTORS}
    measurements = Measurements(photos, {key: detectors.load(path) for key, path in keys.items()}, options.cache)
    bundles = [_named(text) for text in options.bundle or [str(DEFAULT_BUNDLE)]]
    curves = Curves(len(photos))
    rows = []
    for codec in _codecs(options, bundles):
        for key, measurement in measurements.measure(codec).items():
            curves.add(keys[key].stem, codec.name, measurement)
            rows.append(point_row(keys[key].stem, codec, measurement))
            print_rows(rows[-1:])
    ours = [name for name, _ in bundles if name in curves.codecs]
    pairs = [(name, anchor) for name in ours for anchor in curves.codecs if anchor in ANCHORS]
    pairs += [(later, earlier) for number, later in enumerate(ours) for earlier in ours[:number]]
    figures: dict[str, Any] = {"photos": len(photos)}
    tables = {
        "rows": rows,
        "bd_rates": bd_rows(curves, pairs),
        "finetuning": finetuning_rows(curves, [(name, _unfinetuned(name)) for name in ours]),
    }
    figures |= _with_kept(options.results, figures, tables)
    for table in tables:
        if figures[table]:
            print()
            print_rows(figures[table])
    print(f"written to {write_json('rate_accuracy', figures, options.results)}")
    plot(figures["rows"], options.results / "rate_accuracy.png")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench rate-accuracy", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with images/ and labels_boxes/")
    parser.add_argument("--first", type=int, help="only so many of the photos")
    parser.add_argument(
        "--detector", type=Path, action="append", help="a frozen detector's weights: .pt (Ultralytics), .onnx (YOLOX)"
    )
    parser.add_argument(
        "--bundle",
        action="append",
        metavar="[NAME=]FOLDER",
        help="a bundle of ours; later ones are compared with earlier",
    )
    parser.add_argument(
        "--unfinetuned", action="store_true", help=f"measure the bundles with their {UNFINETUNED} as well"
    )
    parser.add_argument("--codecs", default="source,ours,JPEG", help=f"of source, ours, {', '.join(ANCHORS)}")
    parser.add_argument("--levels", default="0,1,2,3,4,5,6,7", help="our quality levels")
    parser.add_argument("--vvenc", type=Path, default=Path("vvencapp"), help="VVenC's program, for VVC")
    parser.add_argument("--cache", type=Path, default=Path(".cache/rate-accuracy"), help="what was measured before")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.codecs = options.codecs.split(",")
    unknown = set(options.codecs) - {"source", "ours", *ANCHORS}
    if unknown:
        raise ConfigError(f"--codecs knows no {', '.join(sorted(unknown))}")
    return options


def _codecs(options: argparse.Namespace, bundles: list[tuple[str, Path]]) -> Iterator[PictureCodec]:
    for name in options.codecs:
        if name == "source":
            yield Source()
        elif name == "HEVC":
            yield from (HevcIntra(quantiser) for quantiser in HEVC_QUANTISERS)
        elif name == "VVC":
            yield from (VvcIntra(quantiser, options.vvenc) for quantiser in VVC_QUANTISERS)
        elif name in QUALITIES:
            yield from (FileCodec(name, quality) for quality in QUALITIES[name])
        else:
            for title, folder in bundles:
                yield from _ours(title, folder, options)


def _ours(title: str, folder: Path, options: argparse.Namespace) -> Iterator[PictureCodec]:
    bundle = Bundle.load(folder)
    levels = [float(level) for level in options.levels.split(",")]
    yield from (OurCodec(title, bundle, level, for_detector=True) for level in levels)
    if options.unfinetuned and (folder / UNFINETUNED).exists():
        yield from (OurCodec(_unfinetuned(title), bundle, level, UNFINETUNED) for level in levels)


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.rpartition("=")
    return name or Path(folder).name, Path(folder)


def _unfinetuned(name: str) -> str:
    return f"{name} before finetuning"


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"there are no detector weights {path}; docs/results.md says where each detector comes from")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _with_kept(
    results: Path, figures: dict[str, Any], tables: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """The tables with the rows of an earlier run on as many photos, of codecs that were not measured this time."""
    try:
        earlier = json.loads((results / "rate_accuracy.json").read_text())
    except FileNotFoundError:
        return tables
    if earlier.get("photos") != figures["photos"] or "bd_rates" not in earlier:
        return tables
    return {name: _merged(earlier[name], rows) for name, rows in tables.items()}


def _merged(earlier: Iterable[dict[str, Any]], measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    again = {_subject(row) for row in measured}
    rows = [row for row in earlier if _subject(row) not in again] + measured
    return sorted(rows, key=lambda row: (*_subject(row), row.get("bpp", 0)))


def _subject(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["detector"], row["codec"], row.get("against", "")
