"""Camera-days a terabyte are read off measured curves, at equal worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from icm.codec.bundle.shipped import DEFAULT_BUNDLE
from icm.errors import ConfigError
from icm_bench.accuracy.bd_rate import Curve
from icm_bench.archive.camera_days import camera_days, rate_at, run

CURVE = Curve(np.array([100.0, 400.0]), np.array([0.8, 0.9]))


def test_a_terabyte_holds_a_day_of_92_6_megabit_a_second() -> None:
    assert camera_days(92_592.6) == pytest.approx(1, abs=1e-5)


def test_between_two_points_bitrates_are_interpolated_by_their_ratio() -> None:
    assert rate_at(CURVE, 0.85) == pytest.approx(200)


def test_a_worth_that_no_bitrate_reaches_has_none() -> None:
    assert np.isnan(rate_at(CURVE, 0.95))


def test_each_codec_that_can_be_entered_anywhere_stands_beside_ours(tmp_path: Path) -> None:
    row = {
        "scene": "street",
        "codec": DEFAULT_BUNDLE.name,
        "point": "1",
        "bare_kbit_per_second": 50.0,
        "agreement": 0.85,
    }
    others = [
        {**row, "codec": codec, "point": point, "bare_kbit_per_second": rate, "agreement": worth}
        for codec in ("x264, 2 s", "x264, one key")
        for point, rate, worth in (("40", 100.0, 0.8), ("30", 400.0, 0.9))
    ]
    (tmp_path / "video.json").write_text(json.dumps({"rows": [row, *others]}))
    assert run(["--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "camera_days.json").read_text())["rows"]
    assert [(each["codec"], each["kbit_per_second"], each["times_ours"]) for each in rows] == [
        (DEFAULT_BUNDLE.name, 50.0, 1.0),
        ("x264, 2 s", 200.0, 0.25),
    ]


def test_without_measured_curves_it_says_what_measures_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="icm-bench video"):
        run(["--results", str(tmp_path)])
