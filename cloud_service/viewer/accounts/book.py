"""The book of accounts: people and API tokens, in a file of its own.

A database that is damaged is made anew out of records, which know of no people; so they are not in it. The service and
commands may both write: each takes a lock, reads what is there, and replaces the file. It is read again when it
changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cloud_service.viewer.accounts.records import Token, User
from icm.atomic_file import write_atomically
from icm.errors import ConfigError, NotFoundError, StorageError, storage_error
from icm.folders import make_folder

FILE_NAME = "accounts.json"
_LOCK_NAME = "accounts.lock"
MOST_USERS = 10_000
MOST_TOKENS = 10_000
_FORM = 1


@dataclass(frozen=True)
class _Content:
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)


class AccountBook:
    """All accounts of a viewer. Thread-safe; each change is on the disk before it counts."""

    def __init__(self, folder: Path) -> None:
        """Reads the accounts.

        Args:
            folder: where the file is; made if it is missing.

        Raises:
            StorageError: the file is damaged, or cannot be read.
        """
        self._path, self._lock_path = folder / FILE_NAME, folder / _LOCK_NAME
        self._lock = threading.Lock()
        try:
            make_folder(folder)
        except OSError as error:
            raise storage_error(error, folder) from None
        self._seen: tuple[int, int, int] | None = None
        self._content = _Content()
        self._refresh()

    def users(self) -> list[User]:
        """All people, by name."""
        return sorted(self._refresh().users.values(), key=lambda user: user.name)

    def user(self, name: str) -> User | None:
        """The account of a name; None if there is none."""
        return self._refresh().users.get(name)

    def tokens(self) -> list[Token]:
        """All tokens, by owner and name."""
        return sorted(self._refresh().tokens.values(), key=lambda token: (token.owner, token.name, token.id))

    def token(self, name: str) -> Token | None:
        """The token of an id; None if there is none."""
        return self._refresh().tokens.get(name)

    @property
    def is_empty(self) -> bool:
        """Whether nobody has an account yet."""
        return not self._refresh().users

    def add_user(self, user: User, *, first: bool = False) -> None:
        """Adds an account.

        Args:
            user: whose name is free.
            first: whether there must be none yet.

        Raises:
            ConfigError: the name is taken, there are too many, or it is not the first.
            StorageError: the disk refused.
        """

        def add(content: _Content) -> _Content:
            if first and content.users:
                raise ConfigError("there is an account already: log in with it")
            if user.name in content.users:
                raise ConfigError(f"there is an account {user.name} already: choose another name")
            if len(content.users) >= MOST_USERS:
                raise ConfigError(f"there are {MOST_USERS} accounts: delete some that are not needed any more")
            return _Content({**content.users, user.name: user}, content.tokens)

        self._change(add)

    def change_user(self, name: str, change: Callable[[User], User]) -> User:
        """Changes an account; one active administrator must be left.

        Args:
            name: of the account.
            change: makes the new one out of the old one.

        Raises:
            NotFoundError: there is no such account.
            ConfigError: it would leave nobody who administers, or from ``change``.
            StorageError: the disk refused.
        """
        changed: list[User] = []

        def apply(content: _Content) -> _Content:
            user = change(_known(content, name))
            changed.append(user)
            return _with_admin(_Content({**content.users, name: user}, content.tokens), content)

        self._change(apply)
        return changed[0]

    def delete_user(self, name: str) -> None:
        """Deletes an account, with its tokens.

        Raises:
            NotFoundError: there is no such account.
            ConfigError: it would leave nobody who administers.
            StorageError: the disk refused.
        """

        def delete(content: _Content) -> _Content:
            _known(content, name)
            users = {key: user for key, user in content.users.items() if key != name}
            tokens = {key: token for key, token in content.tokens.items() if token.owner != name}
            return _with_admin(_Content(users, tokens), content)

        self._change(delete)

    def follow(self, name: str, change: Callable[[User | None], User | None]) -> None:
        """Has an account follow a login provider, even where nobody is left who administers: what it takes is gone.

        Args:
            name: of the account.
            change: makes the new one out of the old one; None where there was none, or is to be none.

        Raises:
            ConfigError: there are too many, or from ``change``.
            StorageError: the disk refused.
        """

        def apply(content: _Content) -> _Content:
            users, tokens = dict(content.users), content.tokens
            user = change(users.pop(name, None))
            if user is not None:
                users[name] = user
            else:
                tokens = {key: token for key, token in tokens.items() if token.owner != name}
            if len(users) > MOST_USERS:
                raise ConfigError(f"there are {MOST_USERS} accounts: delete some that are not needed any more")
            return _Content(users, tokens)

        self._change(apply)

    def add_token(self, token: Token) -> None:
        """Adds a token.

        Raises:
            NotFoundError: its owner has no account.
            ConfigError: there are too many.
            StorageError: the disk refused.
        """

        def add(content: _Content) -> _Content:
            _known(content, token.owner)
            if len(content.tokens) >= MOST_TOKENS:
                raise ConfigError(f"there are {MOST_TOKENS} tokens: revoke some that are not needed any more")
            return _Content(content.users, {**content.tokens, token.id: token})

        self._change(add)

    def delete_token(self, name: str) -> Token:
        """Revokes a token; returns it.

        Raises:
            NotFoundError: there is no such token.
            StorageError: the disk refused.
        """
        deleted: list[Token] = []

        def delete(content: _Content) -> _Content:
            if name not in content.tokens:
                raise NotFoundError(f"there is no token {name[:80]!r}: it may have been revoked already")
            deleted.append(content.tokens[name])
            return _Content(content.users, {key: each for key, each in content.tokens.items() if key != name})

        self._change(delete)
        return deleted[0]

    def _change(self, change: Callable[[_Content], _Content]) -> None:
        with self._lock, _locked(self._lock_path):
            self._seen, self._content = _stamp(self._path), _read(self._path)
            content = change(self._content)
            said = {
                "form": _FORM,
                "users": [asdict(user) for user in content.users.values()],
                "tokens": [asdict(token) for token in content.tokens.values()],
            }
            try:
                write_atomically(self._path, json.dumps(said, indent=1) + "\n", private=True)
            except OSError as error:
                raise storage_error(error, self._path) from None
            self._seen, self._content = _stamp(self._path), content

    def _refresh(self) -> _Content:
        with self._lock:
            seen = _stamp(self._path)
            if seen != self._seen:
                self._content, self._seen = _read(self._path), seen
            return self._content


def _known(content: _Content, name: str) -> User:
    if name not in content.users:
        raise NotFoundError(f"there is no account {name[:80]!r}")
    return content.users[name]


def _with_admin(content: _Content, before: _Content) -> _Content:
    def administered(one: _Content) -> bool:
        return any(user.administers for user in one.users.values())

    if administered(before) and not administered(content):
        raise ConfigError("this is the last account that administers: make another one an administrator first")
    return content


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, path) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> _Content:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        if said["form"] != _FORM:
            raise ValueError(f"it is of form {said['form']!r}, and this release knows {_FORM}")
        users = [User.of(each) for each in said["users"]]
        tokens = [Token.of(each) for each in said["tokens"]]
    except FileNotFoundError:
        return _Content()
    except OSError as error:
        raise storage_error(error, path) from None
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise StorageError(
            f"{path} is damaged ({error}): it says who may see what. Restore it from a copy, or delete it to start"
            " without any account"
        ) from None
    return _Content({user.name: user for user in users}, {token.id: token for token in tokens})


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from None
    return status.st_mtime_ns, status.st_ino, status.st_size
