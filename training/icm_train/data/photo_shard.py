"""Photos as training crops: every picture is decoded once into one shard, crops are cut from it at random."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from icm.atomic_file import atomic_writer, write_atomically
from icm.media.orientation import shown_picture
from icm_train.data.masks import mask_file, read_masks, unpack

log = logging.getLogger(__name__)

SMALLEST_SIDE = 256
"""Photos with a shorter side are left out."""
SMALLEST_SCALE = 0.5
"""Of its photo, that a crop is cut at."""
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def find_photos(folders: list[Path]) -> list[Path]:
    """All pictures below the folders, sorted by path."""
    return sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)


def pack(folders: list[Path], shard: Path, smallest: int = SMALLEST_SIDE, largest: int = 1024) -> None:
    """Decodes all photos below the folders into ``shard`` (uint8, HWC, end to end) and an index beside it.

    The index says of each photo how coarsely it was coded before (``coding_step``). Photos are as people see them
    (``icm.media.orientation``); of a file that holds several pictures the first is taken, since the others are much
    like it. Files that are no photo, or a damaged one, are logged and left out.

    Args:
        smallest: photos with a shorter side are left out.
        largest: photos with a longer side are reduced to it, which also thins out their JPEG traces.

    Raises:
        FileNotFoundError: the folders hold no usable photo.
    """
    index = []
    offset = 0
    with atomic_writer(shard) as out:
        for path in tqdm(find_photos(folders), desc="packing", unit="photo"):
            try:
                # Opened here: of a picture that claims too much Pillow leaves the file open.
                with path.open("rb") as file:
                    opened = Image.open(file)
                    step = coding_step(opened)
                    if (count := getattr(opened, "n_frames", 1)) > 1:
                        log.warning("of the %d pictures in %s only the first is packed", count, path)
                    image = Image.fromarray(shown_picture(opened))
            except Exception as error:  # of which a damaged file can raise any
                log.warning("left out %s: %s", path, error)
                continue
            if min(image.size) < smallest:
                continue
            longer = max(image.size)
            image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
            out.write(pixels.tobytes())
            shape = {"height": pixels.shape[0], "width": pixels.shape[1]}
            # Reducing a photo averages the errors of its coding.
            step *= max(image.size) / longer
            index.append({"offset": offset, **shape, "name": path.name, "coding_step": round(step, 2)})
            offset += pixels.nbytes
        if not index:
            raise FileNotFoundError(f"no photo of at least {smallest} px in {', '.join(map(str, folders))}")
        # The shard says that all is here, so it gets its name last; masks and index belong to the photos before.
        for old in (shard, mask_file(shard)):
            old.unlink(missing_ok=True)
        write_atomically(shard.with_suffix(".json"), json.dumps(index))


def coding_step(image: Image.Image) -> float:
    """How coarsely a JPEG's luma was quantised, in grey levels: the mean step of its ten lowest frequencies.

    0 for a picture of another format. Quality 75 of the usual encoders gives 7, 90 gives 3, 95 gives 1.5.
    """
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    if 0 not in tables:
        return 0.0
    steps = np.asarray(tables[0], np.float64).reshape(8, 8)
    row, column = np.indices(steps.shape)
    return float(steps[row + column < 4].mean())


class Batch(NamedTuple):
    """Crops: images [B, 3, size, size] and, where the shard has masks, masks [B, size, size]."""

    image: Tensor
    mask: Tensor | None


class Crops:
    """An endless supply of random crops from a shard made by ``pack``, with its masks if it has any.

    A crop is cut at the photo's own scale or, half of the time, at a smaller one, and mirrored half of the time.
    """

    def __init__(self, shard: Path, size: int, batch: int, seed: int, smallest_scale: float = SMALLEST_SCALE) -> None:
        self.smallest_scale = smallest_scale
        self.photos: list[dict[str, Any]] = json.loads(shard.with_suffix(".json").read_text())
        self.pixels = np.memmap(shard, dtype=np.uint8, mode="r")
        self.masks = read_masks(shard, self.photos) if mask_file(shard).exists() else None
        self.size, self.batch = size, batch
        self.random = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Batch]:
        """Yields batches of uint8 images and bool masks."""
        while True:
            crops = [self.crop() for _ in range(self.batch)]
            masks = [crop.mask for crop in crops if crop.mask is not None]
            yield Batch(torch.stack([crop.image for crop in crops]), torch.stack(masks) if masks else None)

    def crop(self) -> Batch:
        """One crop without the batch dimension: uint8[3, size, size], bool[size, size]."""
        return self.crop_of(int(self.random.integers(len(self.photos))))

    def crop_of(self, number: int, largest_scale: float = 1.0) -> Batch:
        """A crop of this photo, at ``largest_scale`` of its own size or smaller."""
        photo = self.photos[number]
        height, width = photo["height"], photo["width"]
        largest = min(height, width, int(self.size / self.smallest_scale))
        smallest = min(largest, round(self.size / largest_scale))
        at_largest_scale = largest <= smallest or self.random.random() < 0.5
        cut = smallest if at_largest_scale else int(self.random.integers(smallest, largest + 1))
        top, left = int(self.random.integers(height - cut + 1)), int(self.random.integers(width - cut + 1))
        window = slice(top, top + cut), slice(left, left + cut)
        pixels = self.pixels[photo["offset"] : photo["offset"] + height * width * 3].reshape(height, width, 3)
        image = torch.from_numpy(pixels[window].copy()).permute(2, 0, 1)
        mask = None
        if self.masks is not None:
            mask = torch.from_numpy(unpack(self.masks[number], height, width)[window].copy())
        if cut != self.size:
            image = self._resized(image.float(), "bilinear").round().clamp(0, 255).to(torch.uint8)
            mask = mask if mask is None else self._resized(mask[None].float(), "nearest")[0] > 0
        if self.random.random() < 0.5:
            image, mask = image.flip(-1), mask if mask is None else mask.flip(-1)
        return Batch(image, mask)

    def _resized(self, planes: Tensor, mode: str) -> Tensor:
        return F.interpolate(planes[None], (self.size, self.size), mode=mode, antialias=mode == "bilinear")[0]
