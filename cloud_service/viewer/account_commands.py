"""``icm-cloud users`` and ``icm-cloud audit``: the viewer's accounts and its audit log, while it runs or not."""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud_service.settings import CloudSettings
from icm.config.assignments import parse_assignments
from icm.config.settings import load_settings
from icm.errors import ConfigError
from icm.service.command_line import say
from icm.service.telemetry import configure_logging


def add_commands(commands: Any) -> None:
    """Adds both to the commands of ``icm-cloud``."""
    text = "accounts of the viewer"
    users = commands.add_parser("users", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    password = "the password is asked for, or is the first line of standard input"
    add = _command(users, "add", f"add an account; {password}", _add)
    add.add_argument("name", metavar="NAME", help="what they log in with")
    role = add.add_mutually_exclusive_group()
    role.add_argument("--role", default="viewer", help="admin, operator or viewer (default: viewer)")
    role.add_argument("--admin", dest="role", action="store_const", const="admin", help="the same as --role admin")
    add.add_argument(
        "--camera", action="append", default=[], metavar="PATTERN", help="which they see, such as yard-*; repeatable"
    )
    _command(users, "list", "show the accounts", _list)
    change = _command(users, "password", f"set a new password and end all sessions; {password}", _password)
    disable = _command(users, "disable", "keep somebody from logging in, and end all sessions", _disable)
    enable = _command(users, "enable", "let somebody log in again", _enable)
    delete = _command(users, "delete", "delete an account with its tokens", _delete)
    for sub in (change, disable, enable, delete):
        sub.add_argument("name", metavar="NAME", help="of the account")
    text = "who did what in the viewer"
    audit = commands.add_parser("audit", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    _command(audit, "verify", "check that no line was changed, taken out or put in; print the newest digest", _verify)
    newest = _command(audit, "list", "show the newest entries, the newest last", _entries)
    newest.add_argument("--count", type=int, default=50, metavar="N", help="how many (default: 50)")


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``settings_of`` reads."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the cloud's settings in YAML")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as viewer.connections=64"
    )


def settings_of(options: argparse.Namespace) -> CloudSettings:
    """The cloud's settings.

    Raises:
        ConfigError: they cannot work.
    """
    settings = load_settings(CloudSettings, options.config, parse_assignments(options.set))
    configure_logging(settings.log_level)
    return settings


def _command(commands: Any, name: str, text: str, command: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    add_settings_arguments(parser)
    parser.set_defaults(command=command)
    return parser


class _Office:
    """The book and the log of one viewer, opened by a command."""

    def __init__(self, options: argparse.Namespace) -> None:
        # Imported late: other commands need none of this.
        from cloud_service.viewer.accounts.audit import AuditLog
        from cloud_service.viewer.accounts.book import AccountBook
        from icm.service.clock import SystemClock

        settings = settings_of(options)
        self.folder = settings.viewer_folder
        self.clock = SystemClock()
        self.book, self.audit = AccountBook(self.folder), AuditLog(self.folder, self.clock)

    def note(self, action: str, about: str) -> None:
        self.audit.write(getpass.getuser(), "", action, about)


def _add(options: argparse.Namespace) -> int:
    from cloud_service.viewer.accounts.passwords import Passwords, check_password
    from cloud_service.viewer.accounts.records import User
    from cloud_service.viewer.accounts.roles import EVERY_CAMERA, Role, camera_patterns

    office = _Office(options)
    cameras = camera_patterns(options.camera) if options.camera else EVERY_CAMERA
    user = User(options.name, Role.of(options.role), cameras, "", office.clock.now_us())
    password = _asked()
    check_password(password, user.name)
    office.book.add_user(replace(user, password=Passwords().hash(password)))
    office.note("user-added", f"{user.name} {user.role} {' '.join(user.cameras)}")
    say(f"added {user.name}, {user.role}, who sees {' '.join(user.cameras)}")
    return 0


def _list(options: argparse.Namespace) -> int:
    for user in _Office(options).book.users():
        say(f"{user.name}  {user.role}  {' '.join(user.cameras)}{'  disabled' if user.disabled else ''}")
    return 0


def _password(options: argparse.Namespace) -> int:
    from cloud_service.viewer.accounts.passwords import Passwords, check_password

    office = _Office(options)
    password = _asked()
    check_password(password, options.name)
    kept, now = Passwords().hash(password), office.clock.now_us()
    office.book.change_user(options.name, lambda user: replace(user, password=kept, sessions_from_us=now))
    office.note("user-changed", f"{options.name} new password")
    say(f"{options.name} has a new password; their sessions have ended")
    return 0


def _disable(options: argparse.Namespace) -> int:
    office = _Office(options)
    now = office.clock.now_us()
    office.book.change_user(options.name, lambda user: replace(user, disabled=True, sessions_from_us=now))
    office.note("user-changed", f"{options.name} disabled")
    say(f"{options.name} cannot log in any more; their sessions have ended")
    return 0


def _enable(options: argparse.Namespace) -> int:
    office = _Office(options)
    office.book.change_user(options.name, lambda user: replace(user, disabled=False))
    office.note("user-changed", f"{options.name} enabled")
    say(f"{options.name} can log in again")
    return 0


def _delete(options: argparse.Namespace) -> int:
    office = _Office(options)
    office.book.delete_user(options.name)
    office.note("user-deleted", options.name)
    say(f"deleted {options.name}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from icm.errors import ProofError

    try:
        head = _Office(options).audit.verify()
    except ProofError as error:
        print(f"icm-cloud: {error}", file=sys.stderr)
        return 1
    say(f"the audit log is whole up to entry {head.number}: {head.digest}")
    return 0


def _entries(options: argparse.Namespace) -> int:
    if not 1 <= options.count <= 100_000:
        raise ConfigError(f"--count is {options.count}: give 1 to 100000")
    for entry in reversed(_Office(options).audit.page(count=options.count).entries):
        time = datetime.fromtimestamp(entry.at_us / 1e6, UTC)
        place = entry.address or "this machine"
        say(f"{entry.number}  {time:%Y-%m-%dT%H:%M:%SZ}  {entry.who or '-'}  {place}  {entry.action}  {entry.about}")
    return 0


def _asked() -> str:
    """A password: typed twice at a terminal, or the first line of what is piped in.

    Raises:
        ConfigError: there is none, or the two differ.
    """
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise ConfigError("there is no password: give it as the first line of standard input")
        return password
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise ConfigError("there is no password") from None
    if password != again:
        raise ConfigError("the two passwords differ")
    return password
