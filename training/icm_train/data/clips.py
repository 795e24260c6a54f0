"""Made clips of a camera that stands still: a photo as the background, cut-outs of other photos that move across it.

What a real camera adds is added too: sensor noise, a trembling mount, flickering light, the traces of an earlier codec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from icm.errors import ConfigError
from icm_train.data.masks import mask_file, read_masks, unpack

Picture = NDArray[np.uint8]
SMALLEST_CUTOUT = 24
"""Height of a moving cut-out, pixels: from a person far away to one near by."""
LARGEST_CUTOUT = 150
_CUTOUTS = 300


class Clips:
    """An endless supply of made clips, uint8[frames, size, size, 3] RGB each."""

    def __init__(self, shard: Path, size: int, frames: int, seed: int) -> None:
        """Opens a shard and cuts out its objects.

        Args:
            shard: photos with masks beside them.

        Raises:
            ConfigError: the shard has no masks, or no object worth cutting out.
        """
        if not mask_file(shard).exists():
            raise ConfigError(f"{shard} has no masks beside it: make them with icm-train masks")
        self.photos: list[dict[str, Any]] = json.loads(shard.with_suffix(".json").read_text())
        self.pixels = np.memmap(shard, dtype=np.uint8, mode="r")
        self.size, self.frames = size, frames
        self.random = np.random.default_rng(seed)
        self.cutouts = self._cut_out(read_masks(shard, self.photos))
        if not self.cutouts:
            raise ConfigError(f"no mask of {shard} holds an object that could be cut out")

    def clip(self) -> NDArray[np.uint8]:
        """One clip."""
        random, size = self.random, self.size
        background = self._background()
        movers = [_Mover(self, size) for _ in range(int(random.integers(1, 5)))]
        trembles = random.random() < 0.25
        flicker = random.uniform(0, 0.015) if random.random() < 0.3 else 0.0
        noise = random.uniform(0, 2.5) if random.random() < 0.7 else 0.0
        quality = int(random.integers(60, 96)) if random.random() < 0.5 else None
        frames = []
        for _ in range(self.frames):
            shift = random.normal(0, 0.25, 2) if trembles else np.zeros(2)
            move = np.array([[1, 0, -2 + shift[0]], [0, 1, -2 + shift[1]]], np.float32)
            frame = cv2.warpAffine(background, move, (size, size), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
            for mover in movers:
                mover.paint(frame)
            frame *= 1 + random.normal(0, flicker) if flicker else 1
            if noise:
                frame += noise * random.standard_normal(frame.shape, np.float32)
            picture = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
            frames.append(_recompressed(picture, quality) if quality else picture)
        return np.stack(frames)

    def _background(self) -> Picture:
        side = self.size + 4
        photo = self._photo(int(self.random.integers(len(self.photos))))
        scale = max(side / min(photo.shape[:2]), self.random.uniform(0.5, 1.0))
        photo = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        photo = np.asarray(cv2.copyMakeBorder(photo, 0, 2, 0, 2, cv2.BORDER_REPLICATE), np.uint8)
        top = int(self.random.integers(photo.shape[0] - side + 1))
        left = int(self.random.integers(photo.shape[1] - side + 1))
        return photo[top : top + side, left : left + side]

    def _photo(self, number: int) -> Picture:
        photo = self.photos[number]
        count = photo["height"] * photo["width"] * 3
        view = self.pixels[photo["offset"] : photo["offset"] + count]
        return np.array(view.reshape(photo["height"], photo["width"], 3))

    def _cut_out(self, masks: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Whole objects as float32[h, w, 4], RGB 0..255 and opacity 0..1, from photos in a random order."""
        found: list[NDArray[np.float32]] = []
        for number in self.random.permutation(len(self.photos)):
            photo = self.photos[number]
            mask = unpack(masks[number], photo["height"], photo["width"])
            labels, count = ndimage.label(mask)
            for label, box in enumerate(ndimage.find_objects(labels, count), 1):
                rows, columns = box
                inside = rows.start > 0 and columns.start > 0 and rows.stop < mask.shape[0]
                if not inside or columns.stop == mask.shape[1] or rows.stop - rows.start < 2 * SMALLEST_CUTOUT:
                    continue
                opacity = (labels[box] == label).astype(np.float32)
                if opacity.mean() > 0.25:
                    pixels = self._photo(int(number))[box].astype(np.float32)
                    found.append(np.dstack((pixels, cv2.GaussianBlur(opacity, (3, 3), 0))))
            if len(found) >= _CUTOUTS:
                break
        return found


def cut_out(videos: Sequence[Path], count: int, size: int, frames: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Clips of real videos, each from a random place, at the video's rate or a half to a fifth of it.

    Args:
        videos: files of one camera each; they are read as often as there are clips.

    Raises:
        ConfigError: a video cannot be read, or is smaller or shorter than a clip.
    """
    random = np.random.default_rng(seed)
    for number in range(count):
        video = videos[number % len(videos)]
        reader = cv2.VideoCapture(str(video))
        length, height, width = (
            int(reader.get(what))
            for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        )
        stride = min(int(random.integers(1, 6)), max(1, length // frames - 1))
        if min(height, width) < size or length < frames * stride:
            raise ConfigError(f"{video} cannot be read, or has not {frames} frames of {size} pixels a side")
        top, left = (int(random.integers(side - size + 1)) for side in (height, width))
        reader.set(cv2.CAP_PROP_POS_FRAMES, int(random.integers(length - frames * stride + 1)))
        found: list[Picture] = []
        for frame in range(frames * stride):
            there, picture = reader.read()
            if not there:
                raise ConfigError(f"{video} ends before its {length} frames")
            if frame % stride == 0:
                found.append(np.asarray(picture[top : top + size, left : left + size, ::-1], np.uint8))
        yield np.stack(found)


class _Mover:
    """A cut-out on its way through the picture, breathing a little as walking people do."""

    def __init__(self, clips: Clips, size: int) -> None:
        random = clips.random
        cutout = clips.cutouts[int(random.integers(len(clips.cutouts)))]
        height = float(np.exp(random.uniform(np.log(SMALLEST_CUTOUT), np.log(LARGEST_CUTOUT))))
        self.scale = height / cutout.shape[0]
        shrunk = min(1.0, 2 * self.scale)
        self.cutout = cv2.resize(cutout, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
        self.scale /= shrunk
        self.place = random.uniform(0, size, 2)
        speed = random.exponential(1.5) * min(1.0, height / 50)
        angle = random.uniform(0, 2 * np.pi)
        self.step = speed * np.array([np.cos(angle), np.sin(angle)])
        self.random, self.size = random, size
        self.phase = random.uniform(0, 2 * np.pi)

    def paint(self, frame: NDArray[np.float32]) -> None:
        """Blends the cut-out into float32[size, size, 3] and takes one step."""
        width = self.scale * (1 + 0.08 * np.sin(self.phase))
        shear = 0.05 * np.sin(0.7 * self.phase)
        height, breadth = self.cutout.shape[:2]
        left = self.place[0] - width * breadth / 2
        top = self.place[1] - self.scale * height / 2
        reach = np.array([(width + shear) * breadth, self.scale * height]) / 2 + 2
        first = np.clip(np.floor(self.place - reach), 0, self.size).astype(int)
        last = np.clip(np.ceil(self.place + reach), 0, self.size).astype(int)
        if (last > first).all():
            move = np.array([[width, shear, left - first[0]], [0, self.scale, top - first[1]]], np.float32)
            painted = cv2.warpAffine(self.cutout, move, [int(side) for side in last - first])
            window = frame[first[1] : last[1], first[0] : last[0]]
            window += (painted[..., :3] - window) * painted[..., 3:]
        self.place += self.step + self.random.normal(0, 0.2, 2)
        self.phase += 0.6


def _recompressed(picture: Picture, quality: int) -> Picture:
    """The picture after a round through JPEG, whose traces a network camera's frames carry."""
    _, coded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: Picture = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1])
    return decoded
