"""Ultralytics behind the seam, with real weights where they were fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_service.detection.weights import check_weights
from icm.errors import DetectorError

LOOK = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from cloud_service.detection.yolo import YoloDetector
from icm.media.pictures import is_picture

weights, folder = Path(sys.argv[1]), Path(sys.argv[2])
detector = YoloDetector(weights, 0.4, 4, 640, "cpu", 1, folder)
import ultralytics
from ultralytics.utils import AUTOINSTALL, ONLINE, USER_CONFIG_DIR
photo = Path(ultralytics.__file__).parent / "assets" / "bus.jpg"
image = np.asarray(Image.open(photo).convert("RGB"))
first, second = detector.detect([image, image[:, ::-1]])
own = ultralytics.YOLO(weights).predict(photo, conf=0.4, imgsz=640, verbose=False)[0].boxes
print(json.dumps({
    "this script is a picture": is_picture(Path(sys.argv[3])),
    "model": detector.model,
    "classes": sorted(found.class_name for found in first),
    "scores": [found.score for found in first],
    "own": own.conf.tolist(),
    "mirrored": sorted(found.class_name for found in second),
    "switches": [ONLINE, AUTOINSTALL, str(USER_CONFIG_DIR).startswith(str(folder))],
}))
"""


def test_a_photo_gives_what_ultralytics_itself_finds_in_the_file(weights: Path, tmp_path: Path) -> None:
    # A process of its own: Ultralytics reads its switches once, when it is first imported.
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(weights), str(tmp_path), __file__], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["model"] == weights.stem
    assert set(seen["classes"]) == {"bus", "person"}
    # Equal scores mean equal pixels: channels in the wrong order would shift them.
    assert seen["scores"] == pytest.approx(seen["own"], abs=0.01)
    assert "bus" in seen["mirrored"]
    # Ultralytics would install packages to find out.
    assert seen["this script is a picture"] is False
    assert seen["switches"] == [False, False, True]


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"ask nicely, and set detector\.weights"):
        check_weights(tmp_path / "gone.pt", "ask nicely")
