"""The book of accounts: a file that several processes change, and that a crash leaves whole."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.records import Scope, User, new_token
from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role, Visitor, camera_patterns
from icm.errors import ConfigError, NotFoundError, StorageError


def user(name: str, role: Role = Role.VIEWER) -> User:
    return User(name, role, EVERY_CAMERA, "kept", 1)


def test_what_one_writes_another_reads_at_once(tmp_path: Path) -> None:
    one, other = AccountBook(tmp_path), AccountBook(tmp_path)
    assert other.is_empty
    one.add_user(user("vera"))
    assert other.user("vera") == user("vera")
    token, _ = new_token(name="cam", owner="vera", scopes=(Scope.FEED,), cameras=("gate",), now_us=1, expires_us=2)
    other.add_token(token)
    assert one.tokens() == [token]
    other.delete_user("vera")
    assert one.is_empty
    assert one.token(token.id) is None
    assert AccountBook(tmp_path).is_empty


def add_many(folder: Path, prefix: str) -> None:
    book = AccountBook(folder)
    for number in range(10):
        book.add_user(user(f"{prefix}{number}"))


def test_processes_that_write_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(tmp_path, prefix)) for prefix in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(AccountBook(tmp_path).users()) == 20


def test_the_last_account_that_administers_stays(tmp_path: Path) -> None:
    book = AccountBook(tmp_path)
    book.add_user(user("anna", Role.ADMIN))
    book.add_user(user("vera"))
    changes: list[Callable[[], object]] = [
        lambda: book.delete_user("anna"),
        lambda: book.change_user("anna", lambda one: replace(one, disabled=True)),
        lambda: book.change_user("anna", lambda one: replace(one, role=Role.OPERATOR)),
    ]
    for change in changes:
        with pytest.raises(ConfigError, match="the last account that administers"):
            change()
    assert book.user("anna") == user("anna", Role.ADMIN)
    book.add_user(user("otto", Role.ADMIN))
    book.delete_user("anna")
    assert [one.name for one in book.users()] == ["otto", "vera"]


def test_a_name_that_is_taken_and_a_first_account_that_is_none_are_refused(tmp_path: Path) -> None:
    book = AccountBook(tmp_path)
    book.add_user(user("anna", Role.ADMIN), first=True)
    with pytest.raises(ConfigError, match="there is an account anna already"):
        book.add_user(user("anna"))
    with pytest.raises(ConfigError, match="there is an account already"):
        book.add_user(user("eve", Role.ADMIN), first=True)
    with pytest.raises(NotFoundError, match="there is no account 'eve'"):
        book.delete_user("eve")
    with pytest.raises(NotFoundError, match="there is no token"):
        book.delete_token("none")


@pytest.mark.parametrize("name", ["", "Anna", "a b", "-a", "a" * 65, "a/b", "a\n", "ä"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no account can be called"):
        user(name)


@pytest.mark.parametrize("pattern", ["", "Gate", "a b", "../x", "[a]", "a" * 65, "gate/"])
def test_a_pattern_that_means_no_camera_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="names no camera"):
        camera_patterns([pattern])


def test_who_administers_sees_all() -> None:
    with pytest.raises(ConfigError, match="sees every camera"):
        User("anna", Role.ADMIN, ("gate",), "kept", 1)


def test_a_visitor_sees_what_the_account_and_the_token_name_both() -> None:
    visitor = Visitor("vera", Role.VIEWER, ("gate", "yard-?"), frozenset(), "", within=("yard-*", "cellar"))
    assert visitor.visible(["gate", "yard-1", "yard-12", "cellar", "yard-"]) == ["yard-1"]
    assert not visitor.sees_all


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"form": 2, "users": [], "tokens": []}', '{"form": 1, "users": [{"name": "x"}], "tokens": []}',
     '{"form": 1, "users": [{"name": "x", "role": "king", "cameras": ["*"], "password": "", "created_us": 1}],'
     ' "tokens": []}', "\x00\xff"],
)  # fmt: skip
def test_a_damaged_file_is_named_and_stays_as_it_is(tmp_path: Path, content: str) -> None:
    book = AccountBook(tmp_path)
    path = tmp_path / "accounts.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match=r"accounts\.json is damaged"):
        AccountBook(tmp_path)
    with pytest.raises(StorageError, match=r"accounts\.json is damaged"):
        book.add_user(user("vera"))
    assert path.read_text(encoding="latin-1") == content
