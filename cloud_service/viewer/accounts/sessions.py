"""Sessions: browsers in which somebody is logged in. The browser has 256 random bits; here is their SHA-256 alone."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as Transaction

from cloud_service.database.damage import trouble
from cloud_service.database.viewer_tables import ViewerSessionRow as Row
from icm.errors import StorageError
from icm.service.clock import Clock

_SECOND = 1_000_000
IDLE_US = 12 * 3600 * _SECOND
"""Without a request, after which a session has ended."""
LONGEST_US = 7 * 24 * 3600 * _SECOND
"""After its beginning."""
MOST_OF_A_USER = 50
"""Sessions at once; the oldest go."""
_NOTED_US = 60 * _SECOND
"""How exactly the time of the last use is kept: not each request writes."""
_ID_BYTES = 32
_CHARACTERS = 200


@dataclass(frozen=True)
class Session:
    """A browser in which somebody is logged in.

    Attributes:
        id: SHA-256 of what the browser shows, 32 bytes.
        user: name of the account.
        created_us: when they logged in, microseconds since 1970.
        used_us: when it was last used, to the minute.
        address: where they logged in from.
        browser: what it called itself.
    """

    id: bytes
    user: str
    created_us: int
    used_us: int
    address: str
    browser: str


class Sessions:
    """All sessions. Thread-safe."""

    def __init__(self, database: Engine, clock: Clock) -> None:
        """Of a database that has the viewer's tables."""
        self._database, self._clock = database, clock

    def begin(self, user: str, address: str, browser: str) -> str:
        """Begins a session, and forgets those that have ended.

        Args:
            user: name of the account.
            address: where the person comes from.
            browser: what it calls itself.

        Returns:
            What the browser is to show.

        Raises:
            StorageError: the database cannot be used.
        """
        shown, now = secrets.token_urlsafe(_ID_BYTES), self._clock.now_us()
        try:
            with Transaction(self._database) as transaction:
                newest = select(Row.id).where(Row.user_name == user).order_by(Row.created_us.desc())
                kept = newest.limit(MOST_OF_A_USER - 1).scalar_subquery()
                too_many = (Row.user_name == user) & Row.id.not_in(kept)
                transaction.execute(delete(Row).where((Row.created_us < now - LONGEST_US) | too_many))
                row = Row(
                    id=digest(shown), user_name=user, created_us=now, used_us=now,
                    address=address[:_CHARACTERS], browser=_printable(browser),
                )  # fmt: skip
                transaction.add(row)
                transaction.commit()
        except SQLAlchemyError as error:
            raise _storage_error(error) from None
        return shown

    def find(self, shown: str) -> Session | None:
        """The session of a browser, which counts as used; None if there is none, or it has ended.

        Args:
            shown: what the browser shows.

        Raises:
            StorageError: the database cannot be used.
        """
        now = self._clock.now_us()
        try:
            with Transaction(self._database) as transaction:
                row = transaction.get(Row, digest(shown))
                if row is None or not _lasts(row, now):
                    return None
                session = _session(row)
                if now - row.used_us > _NOTED_US:
                    transaction.execute(update(Row).where(Row.id == row.id).values(used_us=now))
                    transaction.commit()
        except SQLAlchemyError as error:
            raise _storage_error(error) from None
        return session

    def of(self, user: str) -> list[Session]:
        """The sessions of an account, the newest first.

        Raises:
            StorageError: the database cannot be used.
        """
        now = self._clock.now_us()
        try:
            with Transaction(self._database) as transaction:
                rows = transaction.scalars(select(Row).where(Row.user_name == user).order_by(Row.created_us.desc()))
                return [_session(row) for row in rows if _lasts(row, now)]
        except SQLAlchemyError as error:
            raise _storage_error(error) from None

    def end(self, user: str, session: bytes) -> bool:
        """Ends one session of an account; returns whether there was one.

        Raises:
            StorageError: the database cannot be used.
        """
        return self._delete((Row.id == session) & (Row.user_name == user)) > 0

    def end_all(self, user: str, but: bytes = b"") -> int:
        """Ends the sessions of an account; returns how many.

        Args:
            user: name of the account.
            but: of the session that stays.

        Raises:
            StorageError: the database cannot be used.
        """
        return self._delete((Row.user_name == user) & (Row.id != but))

    def _delete(self, which: ColumnElement[bool]) -> int:
        try:
            with self._database.begin() as connection:
                return connection.execute(delete(Row).where(which)).rowcount
        except SQLAlchemyError as error:
            raise _storage_error(error) from None


def digest(shown: str) -> bytes:
    """What is kept of what a browser shows."""
    return hashlib.sha256(shown.encode(errors="replace")).digest()


def csrf_of(shown: str) -> str:
    """What the forms of a session carry; from it nobody gets what the browser shows."""
    return hashlib.sha256(b"icm-csrf-1 " + shown.encode(errors="replace")).hexdigest()


def _lasts(row: Row, now_us: int) -> bool:
    return now_us - row.used_us < IDLE_US and now_us - row.created_us < LONGEST_US


def _session(row: Row) -> Session:
    return Session(row.id, row.user_name, row.created_us, row.used_us, row.address, row.browser)


def _printable(text: str) -> str:
    return "".join(each for each in text if each.isprintable())[:_CHARACTERS]


def _storage_error(error: SQLAlchemyError) -> StorageError:
    return StorageError(f"the database cannot be used for sessions: {trouble(error)}")
