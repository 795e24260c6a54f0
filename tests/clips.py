"""Clips for tests."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLIP_FRAMES = 30
CLIP_FPS = 10


def write_clip(target: Path, frames: list[NDArray[np.uint8]]) -> None:
    """Writes RGB frames losslessly at 10 fps."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("ffv1", rate=CLIP_FPS)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))


def first_frames(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        frames = zip(range(CLIP_FRAMES), container.decode(video=0), strict=False)
        return [frame.reformat(512, 384, "rgb24").to_ndarray() for _, frame in frames]


def pan_over_photo() -> list[NDArray[np.uint8]]:
    ultralytics = find_spec("ultralytics")
    assert ultralytics is not None
    assert ultralytics.origin is not None
    with Image.open(Path(ultralytics.origin).parent / "assets" / "bus.jpg") as photo:
        scene = np.asarray(photo.convert("RGB").resize((576, 768)))
    return [scene[8 * index : 8 * index + 512, 2 * index : 2 * index + 512] for index in range(CLIP_FRAMES)]
