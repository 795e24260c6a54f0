"""Links by which somebody without an account fetches one export until it expires, signed, as nobody may make one up."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from icm.atomic_file import write_atomically
from icm.errors import NotFoundError, storage_error

_KEY_BYTES = 32
_FILE = "links.key"
_DIGITS = 18


class ShareLinks:
    """Makes links, and knows its own again; a new key ends all of them."""

    def __init__(self, folder: Path) -> None:
        """Takes the key in a folder, or makes one.

        Raises:
            StorageError: the disk refused.
        """
        path = folder / _FILE
        try:
            if not path.exists() or len(path.read_bytes()) != _KEY_BYTES:
                write_atomically(path, secrets.token_bytes(_KEY_BYTES), private=True)
            self._key = path.read_bytes()
        except OSError as error:
            raise storage_error(error, path) from None

    def path_of(self, export: str, expires_us: int) -> str:
        """The path of an address that gives an export until a time, microseconds since 1970."""
        return f"/shared/{export}/{expires_us}/{self._signature(export, str(expires_us))}"

    def check(self, export: str, expires_us: str, signature: str, now_us: int) -> None:
        """Checks an address.

        Raises:
            NotFoundError: it is none of ours, or has expired.
        """
        known = hmac.compare_digest(signature.encode(), self._signature(export, expires_us).encode())
        if not known or len(expires_us) > _DIGITS or int(expires_us) <= now_us:
            raise NotFoundError("this link leads nowhere: it has expired, or a part of it is missing")

    def _signature(self, export: str, expires_us: str) -> str:
        return hmac.new(self._key, f"{export} {expires_us}".encode(), hashlib.sha256).hexdigest()
