"""Photos as training crops: every picture is decoded once into one shard, crops are cut from it at random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def find_photos(folders: list[Path]) -> list[Path]:
    """All pictures below the folders, sorted by path."""
    return sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)


def pack(folders: list[Path], shard: Path, smallest: int = 256, largest: int = 1024) -> None:
    """Decodes all photos below the folders into ``shard`` (uint8, HWC, end to end) and an index beside it.

    Args:
        smallest: photos with a shorter side are left out.
        largest: photos with a longer side are reduced to it, which also thins out their JPEG traces.

    Raises:
        FileNotFoundError: the folders hold no usable photo.
    """
    index = []
    offset = 0
    shard.parent.mkdir(parents=True, exist_ok=True)
    with shard.open("wb") as out:
        for path in tqdm(find_photos(folders), desc="packing", unit="photo"):
            image = Image.open(path).convert("RGB")
            if min(image.size) < smallest:
                continue
            image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
            out.write(pixels.tobytes())
            index.append({"offset": offset, "height": pixels.shape[0], "width": pixels.shape[1], "name": path.name})
            offset += pixels.nbytes
    if not index:
        raise FileNotFoundError(f"no photo of at least {smallest} px in {', '.join(map(str, folders))}")
    shard.with_suffix(".json").write_text(json.dumps(index))


class Crops:
    """An endless supply of random crops from a shard made by ``pack``.

    A crop is cut at the photo's own scale or, half of the time, at a scale of 0.5 to 1, and mirrored half of the time.
    """

    def __init__(self, shard: Path, size: int, batch: int, seed: int) -> None:
        self.photos = [p for p in json.loads(shard.with_suffix(".json").read_text())]
        self.pixels = np.memmap(shard, dtype=np.uint8, mode="r")
        self.size, self.batch = size, batch
        self.random = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Tensor]:
        """Yields uint8[batch, 3, size, size]."""
        while True:
            yield torch.stack([self.crop() for _ in range(self.batch)])

    def crop(self) -> Tensor:
        """One crop, uint8[3, size, size]."""
        photo = self.photos[self.random.integers(len(self.photos))]
        height, width = photo["height"], photo["width"]
        largest = min(height, width, 2 * self.size)
        cut = (
            self.size
            if largest <= self.size or self.random.random() < 0.5
            else int(self.random.integers(self.size, largest + 1))
        )
        cut = min(cut, largest)
        view = self.pixels[photo["offset"] : photo["offset"] + height * width * 3].reshape(height, width, 3)
        top, left = int(self.random.integers(height - cut + 1)), int(self.random.integers(width - cut + 1))
        patch = torch.from_numpy(view[top : top + cut, left : left + cut].copy()).permute(2, 0, 1)
        if cut != self.size:
            scaled = F.interpolate(patch[None].float(), (self.size, self.size), mode="bilinear", antialias=True)
            patch = scaled[0].round().clamp(0, 255).to(torch.uint8)
        return patch.flip(-1) if self.random.random() < 0.5 else patch
