"""The spool's file: transactions, and what an error of SQLite means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_service.spool.file import SpoolFile
from edge_service.spool.folder import LOCK_NAME
from icm.errors import SpoolError, SpoolFullError


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    file = SpoolFile(tmp_path)
    yield file
    file.close()


def names(file: SpoolFile) -> list[str]:
    with file.reading() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM camera ORDER BY name")]


def add(file: SpoolFile, name: str, durable: bool = True) -> None:
    with file.writing(durable=durable) as connection:
        connection.execute("INSERT INTO camera VALUES (NULL, ?, 1, 1, 0, 7)", (name,))


@pytest.mark.parametrize("durable", [True, False])
def test_a_transaction_that_breaks_leaves_nothing_and_the_next_one_works(file: SpoolFile, durable: bool) -> None:
    add(file, "door", durable)

    def add_and_break() -> None:
        with file.writing(durable=durable) as connection:
            connection.execute("INSERT INTO camera VALUES (NULL, 'gate', 1, 1, 0, 0)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_and_break()
    assert names(file) == ["door"]
    add(file, "yard", durable)
    assert names(file) == ["door", "yard"]


def test_what_waits_is_counted_again_by_the_next_process(tmp_path: Path) -> None:
    first = SpoolFile(tmp_path)
    add(first, "gate")
    first.resize(7)
    assert first.bytes == 7
    first.close()
    second = SpoolFile(tmp_path)
    assert second.bytes == 7
    second.close()


def test_an_error_of_sqlite_names_the_file_and_what_to_do(file: SpoolFile) -> None:
    unknown = pytest.raises(SpoolError, match=r"cannot use the spool file .*spool\.sqlite: no such table")
    with unknown, file.reading() as connection:
        connection.execute("SELECT * FROM nowhere")
    with file.writing(durable=True) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolFullError, match="make room on it"), file.writing(durable=True) as connection:
        connection.execute("INSERT INTO record VALUES (1, 1, 1, zeroblob(1000000))")


def test_who_lost_the_folder_reads_on_but_writes_nothing(file: SpoolFile, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).unlink()
    with pytest.raises(SpoolError, match="icm-edge"):
        add(file, "gate")
    assert names(file) == []
