"""Ed25519 keys (RFC 8032) that sign heads and seals: a private one in a file, a public one as 64 hexadecimal digits."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from icm.atomic_file import write_atomically
from icm.errors import ConfigError, StorageError, storage_error

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class SigningKey:
    """A private key.

    Attributes:
        public: the public key that belongs to it, 32 bytes.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @staticmethod
    def new() -> SigningKey:
        """A key that nobody has."""
        return SigningKey(Ed25519PrivateKey.generate())

    @staticmethod
    def load(path: Path) -> SigningKey:
        """The key in a file.

        Raises:
            StorageError: the file cannot be read, or holds no such key.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise storage_error(error, path) from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise StorageError(
                f"{path} is no Ed25519 key in PEM: put the right one back, or move the file away, and a new key is made"
            )
        return SigningKey(key)

    def save(self, path: Path) -> None:
        """Writes the key to a file that its owner alone can read.

        Raises:
            StorageError: the file cannot be written.
        """
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            write_atomically(path, pem, private=True)
        except OSError as error:
            raise storage_error(error, path) from None

    def sign(self, data: bytes) -> bytes:
        """The signature of these bytes, 64 bytes."""
        return self._key.sign(data)


def signed_by(public: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the owner of a public key signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_of(text: str) -> bytes:
    """The public key in a text that a person gave: 64 hexadecimal digits, with white space around them.

    Raises:
        ConfigError: it is none.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise ConfigError(f"{text.strip()[:80]!r} is no public key: one is 64 hexadecimal digits")
    return key
