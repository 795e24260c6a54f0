"""Tokens of the frame API's clients. The file holds their digests only, so that reading it lets nobody in.

    - client: door-app
      sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
      cameras: [door]

A token is 32 random bytes, too many to guess, so a plain digest protects it as well as a slow one would.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from icm.atomic_file import write_atomically
from icm.camera_name import CameraName
from icm.config.watched_files import WatchedFiles, read_file
from icm.config.yaml_text import parse_yaml
from icm.errors import ConfigError, PermissionDeniedError, UnauthenticatedError

_SCHEME = "bearer "
_TOKEN_BYTES = 32


class TokenEntry(BaseModel):
    """One client.

    Attributes:
        client: whose token it is, for texts.
        sha256: digest of the token, in hexadecimal.
        cameras: those it may submit to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    client: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_.-]{0,63}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    cameras: list[CameraName]


_Entries = TypeAdapter(list[TokenEntry])
Metadata = Iterable[tuple[str, str | bytes]]


class Tokens:
    """The clients in a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Reads the tokens from a file.

        Raises:
            ConfigError: the file cannot be used.
        """
        self._files = WatchedFiles((path,), lambda: _read(path))

    def check_known(self, metadata: Metadata) -> None:
        """Checks that the call's metadata holds ``authorization: Bearer <token>`` with a token for any camera.

        Raises:
            UnauthenticatedError: it holds no token, or one that is in the file no more.
        """
        self._find(metadata)

    def check(self, metadata: Metadata, camera: str) -> None:
        """Checks that the call's metadata holds ``authorization: Bearer <token>`` with a token for this camera.

        Raises:
            UnauthenticatedError: it holds no token, or one that is in the file no more.
            PermissionDeniedError: the token is for other cameras.
        """
        found = self._find(metadata)
        if camera not in found.cameras:
            raise PermissionDeniedError(
                f"the token of {found.client} is for {', '.join(found.cameras) or 'no camera'}, not {camera[:80]!r}"
            )

    def _find(self, metadata: Metadata) -> TokenEntry:
        digest = hashlib.sha256(_token(metadata).encode()).hexdigest()
        found = None
        for entry in self._files.current():
            # All are compared, each in constant time: how long it takes tells nothing about how near a guess was.
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            raise UnauthenticatedError("this token is not known here: `icm-edge token` makes one")
        return found


def add_token(path: Path, client: str, cameras: Sequence[str]) -> str:
    """Makes a token and adds its digest to the file, which is made if there is none; returns the token.

    Raises:
        ConfigError: the client has one already, a name cannot be, or the file cannot be used.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no file: name one to keep tokens in")
    if not (folder := path.resolve().parent).is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {folder}; make it, or name another file")
    entries = _read(path) if path.exists() else []
    if any(entry.client == client for entry in entries):
        raise ConfigError(f"{client} has a token in {path} already: delete its entry there first")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    digest = hashlib.sha256(token.encode()).hexdigest()
    try:
        entries.append(TokenEntry(client=client, sha256=digest, cameras=list(cameras)))
    except ValidationError as error:
        raise ConfigError(f"cannot make a token: {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    text = yaml.safe_dump([entry.model_dump() for entry in entries], sort_keys=False)
    try:
        write_atomically(path, text, private=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    return token


def _token(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str) and value.lower().startswith(_SCHEME):
            return value[len(_SCHEME) :].strip()
    raise UnauthenticatedError("the frame API asks for a token: send it as metadata `authorization: Bearer <token>`")


def _read(path: Path) -> list[TokenEntry]:
    try:
        file = parse_yaml(read_file(path).decode())
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    try:
        return _Entries.validate_python(file.values or [])
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        # A digest is quoted nowhere: in its place may stand the token.
        named = problem["type"] == "string_type" and problem["loc"][-1] != "sha256"
        hint = file.hint(problem["loc"], problem["input"]) if named else ""
        raise ConfigError(
            f"{path} is no file of tokens: {where or 'the whole'}: {problem['msg']}{hint and f'; {hint}'}"
        ) from None
