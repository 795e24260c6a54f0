"""The key that a record store's heads are signed with: its own, made at the store's first start."""

from __future__ import annotations

import logging
from pathlib import Path

from cloud_service.proof.chain_file import FOLDER, chained_cameras
from icm.proof.keys import SigningKey

log = logging.getLogger(__name__)
KEY_NAME = "signing.key"


def key_path(store: Path) -> Path:
    """Where the key of a store lies, in its folder."""
    return store / FOLDER / KEY_NAME


def signing_key(store: Path) -> SigningKey:
    """The key of a store, which this process owns; made where there is none.

    Raises:
        StorageError: it cannot be read or written.
    """
    path = key_path(store)
    if path.exists():
        return SigningKey.load(path)
    key = SigningKey.new()
    if chained_cameras(path.parent):
        log.error(
            "%s is gone: heads are signed with a new key from here on, and verify will say so; put the old one back if"
            " there is a copy",
            path,
        )
    key.save(path)
    log.info("heads of chains are signed with the key in %s: its public key is %s", path, key.public.hex())
    return key
