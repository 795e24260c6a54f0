"""``icm-cloud users`` and ``icm-cloud audit``, beside a viewer that runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cloud_service.cli import main
from cloud_service.viewer.accounts.book import AccountBook
from cloud_service.viewer.accounts.roles import Role
from tests.cloud_service.viewer.house import PASSWORD, add_user, running_viewer

NEW = "another few words"


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, typed: str = "") -> int:
    """Runs a command; what it asks for is piped in."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return main([*arguments, "--set", f"store.folder={folder}"])


def test_accounts_are_managed_beside_a_viewer_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_viewer(tmp_path) as house:
        assert run(tmp_path, monkeypatch, "users", "add", "--admin", "anna", typed=f"{PASSWORD}\n") == 0
        add = ("users", "add", "vera", "--camera", "gate", "--camera", "yard-*")
        assert run(tmp_path, monkeypatch, *add, typed=PASSWORD) == 0
        vera = house.logged_in("vera")
        assert "gate yard-*" in vera.get("/account").text
        assert run(tmp_path, monkeypatch, "users", "password", "vera", typed=f"{NEW}\r\n") == 0
        assert vera.get("/account").status_code == 303
        with house.client() as client:
            assert client.post("/login", data={"name": "vera", "password": NEW}).status_code == 303
            assert run(tmp_path, monkeypatch, "users", "disable", "vera") == 0
            assert client.get("/account").status_code == 303
            assert run(tmp_path, monkeypatch, "users", "enable", "vera") == 0
            assert client.get("/account").status_code == 303
        assert run(tmp_path, monkeypatch, "users", "list") == 0
        assert "anna  admin  *\nvera  viewer  gate yard-*\n" in capsys.readouterr().out
        assert run(tmp_path, monkeypatch, "users", "delete", "vera") == 0
        assert AccountBook(tmp_path / "viewer").user("vera") is None
        assert run(tmp_path, monkeypatch, "audit", "verify") == 0
        assert "whole up to entry 8: " in capsys.readouterr().out
        assert run(tmp_path, monkeypatch, "audit", "list", "--count", "3") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[4] for line in lines] == ["user-changed", "user-changed", "user-deleted"]


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (("users", "add", "vera"), "", "there is no password"),
        (("users", "add", "vera"), "short", "12 to 256 characters"),
        (("users", "add", "Vera!"), PASSWORD, "no account can be called"),
        (("users", "add", "vera", "--role", "king"), PASSWORD, "there is no role"),
        (("users", "add", "vera", "--camera", "../x"), PASSWORD, "names no camera"),
        (("users", "add", "anna"), PASSWORD, "there is an account anna already"),
        (("users", "delete", "nobody"), "", "there is no account 'nobody'"),
        (("users", "disable", "anna"), "", "the last account that administers"),
        (("audit", "list", "--count", "0"), "", "--count is 0"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    typed: str,
    said: str,
) -> None:
    add_user(tmp_path, "anna", Role.ADMIN)
    assert run(tmp_path, monkeypatch, *arguments, typed=typed) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [user.name for user in AccountBook(tmp_path / "viewer").users()] == ["anna"]


def test_a_log_that_was_changed_ends_verify_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("anna", "otto"):
        assert run(tmp_path, monkeypatch, "users", "add", name, typed=PASSWORD) == 0
    path = next((tmp_path / "viewer" / "audit").glob("*.log"))
    path.write_bytes(path.read_bytes().replace(b"user-added anna", b"user-added anne"))
    assert run(tmp_path, monkeypatch, "audit", "verify") == 1
    assert f"{path.name}, line 2: it does not follow" in capsys.readouterr().err
