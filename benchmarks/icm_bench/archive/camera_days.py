"""``icm-bench camera-days``: how many days of one camera a terabyte holds, as records and as video of equal worth.

Worth is how far a detector's boxes on the decoded frames agree with those on the source, from what ``icm-bench video``
measured. Of each video codec the bitrate is taken at which its curve reaches the worth of our records; only those that
begin anew every few seconds are compared, as an archive must be entered anywhere. Our records are counted with what a
stored record adds to a frame's bits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import ConfigError
from icm_bench.accuracy.bd_rate import Curve
from icm_bench.report import RESULTS, print_rows, write_json

_BYTES = 1e12
_SECONDS = 86_400
_OURS = DEFAULT_BUNDLE.name
_MEASURE, _RATE = "agreement", "bare_kbit_per_second"


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    source = options.results / "video.json"
    if not source.is_file():
        raise ConfigError(f"there is no {source}: run `icm-bench video --data FOLDER` first")
    rows = json.loads(source.read_text())["rows"]
    figures = [row for scene in dict.fromkeys(row["scene"] for row in rows) for row in _of_scene(rows, scene, options)]
    print_rows(figures)
    print(f"written to {write_json('camera_days', {'point': options.point, 'rows': figures}, options.results)}")
    return 0


def camera_days(kbit_per_second: float) -> float:
    """Days of video at a bitrate that a terabyte, 10^12 bytes, holds."""
    return _BYTES * 8 / (kbit_per_second * 1000) / _SECONDS


def rate_at(curve: Curve, worth: float) -> float:
    """The bitrate at which a curve reaches a worth, log bitrate interpolated; NaN if it never does. A curve whose
    cheapest point is worth more gives that point's: an upper bound of what it needs.
    """
    rising = curve.rising()
    if worth > rising.worth[-1]:
        return float("nan")
    return float(np.exp(np.interp(worth, rising.worth, np.log(rising.bpp))))


def _of_scene(rows: list[dict[str, Any]], scene: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    here = [row for row in rows if row["scene"] == scene and row[_RATE] is not None]
    ours = next((row for row in here if row["codec"] == _OURS and row["point"] == options.point), None)
    if ours is None:
        return []
    rates = {_OURS: ours[_RATE]} | {
        codec: rate_at(Curve(_column(here, codec, _RATE), _column(here, codec, _MEASURE)), ours[_MEASURE])
        for codec in dict.fromkeys(row["codec"] for row in here)
        if codec.endswith(" s")
    }
    return [
        {
            "scene": scene,
            "codec": codec,
            _MEASURE: ours[_MEASURE],
            "kbit_per_second": None if np.isnan(rate) else round(rate, 1),
            "camera_days_per_tb": None if np.isnan(rate) else round(camera_days(rate)),
            "times_ours": None if np.isnan(rate) else round(ours[_RATE] / rate, 2),
        }
        for codec, rate in rates.items()
    ]


def _column(rows: list[dict[str, Any]], codec: str, name: str) -> NDArray[np.float64]:
    return np.array([row[name] for row in rows if row["codec"] == codec], float)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench camera-days", description=__doc__)
    parser.add_argument("--point", default="1", help="quality level of our records (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where video.json lies, and the figures go")
    return parser.parse_args(arguments)
