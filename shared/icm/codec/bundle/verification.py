"""Verifying a bundle: its files are those of its manifest, and its golden records decode and encode as they should."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from icm.codec.bitstream.record import Kind, parse_stream
from icm.codec.bundle.manifest import (
    DECODING,
    ENCODING,
    GOLDEN,
    MANIFEST,
    MOTION,
    MOTION_TABLES,
    TEMPORAL,
    BundleFile,
    Manifest,
    codec_id_of,
)
from icm.codec.decoder import decode_latents
from icm.codec.latents.latents import Latents
from icm.errors import BundleError, IcmError, RecordError

if TYPE_CHECKING:
    from icm.codec.bundle.loading import Bundle


def check_files(folder: Path, manifest: Manifest) -> None:
    """Finds out whether a bundle is whole and undamaged.

    Raises:
        BundleError: a file is damaged, missing, or not what the codec id stands for.
    """
    for name, file in manifest.files.items():
        check_file(folder / name, file)
    files = set(manifest.files)
    following = files.issuperset(TEMPORAL) or files.issuperset((*MOTION, MOTION_TABLES))
    whole = files.issuperset((*ENCODING, *DECODING)) and following
    if not whole or codec_id_of(manifest.files) != manifest.codec_id:
        raise BundleError(f"{folder / MANIFEST} does not match its own codec id {manifest.codec_id}")


def check_golden(bundle: Bundle) -> None:
    """Finds out whether a bundle's golden records decode, and those that stand alone encode to the same bytes.

    Raises:
        BundleError: they do not on this machine.
    """
    try:
        header, records = parse_stream((bundle.folder / GOLDEN).read_bytes())
        last: Latents | None = None
        for record in records:
            last = decode_latents(bundle, record, header.width, header.height, last)
            if record.kind is Kind.I and bundle.entropy.encode(last) != record.payload:
                raise RecordError(f"golden record {record.sequence} does not encode to itself on this machine")
    except (IcmError, OSError) as error:
        raise BundleError(f"bundle {bundle.folder} fails its self-test: {error}") from None


def check_file(path: Path, file: BundleFile) -> None:
    """Finds out whether a file is the one of the manifest.

    Raises:
        BundleError: it is not, or cannot be read.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"the bundle's file {path} cannot be read: {error.strerror}") from None
    if found != file.sha256:
        raise BundleError(f"the bundle's file {path} is damaged: its sha256 is {found}, it should be {file.sha256}")
