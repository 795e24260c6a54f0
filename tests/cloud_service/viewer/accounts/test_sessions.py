"""Sessions in the database, of either kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from cloud_service.database.opening import open_database
from cloud_service.viewer.accounts.sessions import LONGEST_US, MOST_OF_A_USER, Sessions, csrf_of, digest
from icm.errors import StorageError
from icm.service.clock import ManualClock
from tests.cloud_service.parts import close_stores


@pytest.fixture
def database(each_database_url: str) -> Iterator[Engine]:
    engine = open_database(each_database_url)
    yield engine
    close_stores(engine)


def test_sessions_begin_are_listed_and_end(database: Engine) -> None:
    clock = ManualClock()
    sessions = Sessions(database, clock)
    first = sessions.begin("vera", "192.0.2.1", "Firefox\r\n\x00 140" + "x" * 1000)
    clock.advance(61)
    second = sessions.begin("vera", "2001:db8::1", "")
    other = sessions.begin("otto", "192.0.2.2", "")
    found = sessions.find(first)
    assert found is not None
    assert (found.user, found.address, found.browser[:12]) == ("vera", "192.0.2.1", "Firefox 140x")
    assert len(found.browser) == 200
    listed = sessions.of("vera")
    assert [session.id for session in listed] == [digest(second), digest(first)]
    assert listed[1].used_us == clock.now_us()
    assert sessions.end_all("vera", but=digest(second)) == 1
    assert sessions.find(first) is None
    assert not sessions.end("vera", digest(other))
    assert sessions.end("otto", digest(other))
    assert sessions.find(other) is None
    assert csrf_of(first) != csrf_of(second)


def test_what_has_ended_is_forgotten_and_a_person_has_a_bounded_number(database: Engine) -> None:
    clock = ManualClock()
    sessions = Sessions(database, clock)
    sessions.begin("otto", "", "")
    clock.advance(LONGEST_US / 1e6 + 1)
    shown = [sessions.begin("vera", "", "") for _ in range(MOST_OF_A_USER) if clock.advance(1) is None]
    assert sessions.find(shown[0]) is not None
    clock.advance(1)
    sessions.begin("vera", "", "")
    assert sessions.find(shown[0]) is None
    assert sessions.find(shown[1]) is not None
    with database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT user_name FROM viewer_sessions").all()
    assert {name for (name,) in rows} == {"vera"}
    assert len(rows) == MOST_OF_A_USER


def test_a_database_that_cannot_be_used_is_said_to_be_so(database: Engine) -> None:
    sessions = Sessions(database, ManualClock())
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE viewer_sessions")
    for call in (
        lambda: sessions.begin("vera", "", ""),
        lambda: sessions.find("x"),
        lambda: sessions.of("vera"),
        lambda: sessions.end("vera", b""),
    ):
        with pytest.raises(StorageError, match="cannot be used for sessions"):
            call()
