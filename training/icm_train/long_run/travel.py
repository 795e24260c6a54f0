"""The photos of a run in one small file, for a machine that is lent for minutes and takes no more."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from icm.errors import ConfigError
from icm.media.orientation import shown_picture
from icm_train.data.photo_shard import SMALLEST_SIDE, coding_step, find_photos
from icm_train.learning.photos import COARSE, COARSE_SCALE, HELD_OUT, TOO_COARSE, held_out

log = logging.getLogger(__name__)

_QUALITY = 85
"""Of WebP: below it, what a codec learns would be WebP's blur; rather fewer photos."""
_ENTRY_BYTES = 400
"""What a zip file keeps about each photo, at most."""


def pack_small(folders: list[Path], archive: Path, megabytes: float, largest: int) -> tuple[int, int]:
    """Writes a zip file of WebP photos, the clean ones first, then JPEGs as far as they fit.

    Photos that a run would use reduced only are reduced. Those that it would leave out or hold out are left out, so
    that nothing is learned elsewhere of what is measured here.

    Args:
        largest: what the longer side of photos is reduced to when a run packs them.

    Returns:
        How many photos the file holds, and how many there are to train on.

    Raises:
        FileNotFoundError: the folders hold no photo to train on.
        ConfigError: not even as many fit as are held out for measuring.
    """
    photos = _trained_on(folders, largest)
    if not photos:
        raise FileNotFoundError(f"no photo to train on in {', '.join(map(str, folders))}")
    room = megabytes * 1e6
    packed: list[tuple[str, bytes]] = []
    for photo in tqdm(photos, desc="packing", unit="photo", disable=None):
        path: Path = photo["path"]
        data = _webp(path)
        if len(data) + _ENTRY_BYTES > room:
            break
        room -= len(data) + _ENTRY_BYTES
        packed.append((f"{path.parent.name}/{path.stem}.webp", data))
    if len(packed) < min(HELD_OUT, len(photos)):
        raise ConfigError(f"only {len(packed)} of {len(photos)} photos fit into {megabytes:g} MB: allow more")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as file:  # stored as they are: WebP does not get smaller
        for name, data in packed:
            file.writestr(name, data)
    return len(packed), len(photos)


def _trained_on(folders: list[Path], largest: int) -> list[dict[str, Any]]:
    """The photos below the folders that a run trains on, in the order in which they are taken; see ``data.pack``."""
    found: list[dict[str, Any]] = []
    for path in find_photos(folders):
        try:
            with Image.open(path) as image:
                step = coding_step(image) * min(1.0, largest / max(image.size))
                image.load()  # the packing of a run leaves out what cannot be decoded
                if min(image.size) >= SMALLEST_SIDE:
                    found.append({"name": path.name, "coding_step": round(step, 2), "path": path})
        except Exception as error:  # of which a damaged file can raise any
            log.warning("left out %s: %s", path, error)
    apart = set(held_out(found))
    kept = [one for n, one in enumerate(found) if n not in apart and one["coding_step"] < TOO_COARSE]
    return sorted(kept, key=lambda one: (one["coding_step"] > 0, hashlib.sha256(one["name"].encode()).digest()))


def _webp(path: Path) -> bytes:
    with Image.open(path) as image:
        coarse = coding_step(image) >= COARSE
        pixels = Image.fromarray(shown_picture(image))
    if coarse:
        scale = min(1.0, max(COARSE_SCALE, SMALLEST_SIDE / min(pixels.size)))
        sides = round(pixels.width * scale), round(pixels.height * scale)
        pixels = pixels.resize(sides, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    pixels.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return buffer.getvalue()
