"""Finding the bundle that decodes what was coded, by the codec id that its stream header names."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from icm.codec.bitstream.record import StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import read_manifest
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.errors import CodecMismatchError

_REMEDY = "load the right one with icm.Bundle.load(folder)"
_loading = threading.Lock()


def bundle_of(header: StreamHeader) -> Bundle:
    """The bundle that decodes a stream's records, whichever of those that ship it was made with.

    It is loaded when it is first asked for and kept; one that does not ship is ``Bundle.load``'s.

    Raises:
        BundleError: a bundle that ships is missing or damaged.
        CodecMismatchError: none of them decodes it.
    """
    return loaded(folder_of(header.codec_id, SHIPPED_BUNDLES, "the stream", _REMEDY))


def loaded(folder: Path) -> Bundle:
    """The bundle in a folder, loaded when it is first asked for and kept.

    Raises:
        BundleError: it is missing or damaged.
    """
    # Loading takes seconds and is done once, by whichever thread comes first.
    with _loading:
        return _load(folder)


def folder_of(codec_id: bytes, folders: Sequence[Path], what: str, remedy: str) -> Path:
    """The first of these bundles' folders that decodes a codec's records. Only manifests are read.

    Args:
        codec_id: of the codec.
        folders: of the bundles; one at least.
        what: was made with that codec, for the error.
        remedy: what to do where none decodes it, for the error.

    Raises:
        BundleError: a folder holds no bundle.
        CodecMismatchError: none decodes it.
    """
    manifests = [read_manifest(folder) for folder in folders]
    for folder, manifest in zip(folders, manifests, strict=True):
        if codec_id in manifest.decodes:
            return folder
    known = " and ".join(f"{manifest.codec_id[:16]} (bundle {manifest.name})" for manifest in manifests)
    raise CodecMismatchError(
        f"{what} was made with codec {codec_id.hex()[:16]}, and those that are read here are {known}: {remedy}"
    )


@cache
def _load(folder: Path) -> Bundle:
    return Bundle.load(folder)
