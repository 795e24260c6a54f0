"""Holds are kept in a file of the store, and a lost one would be noticed by nobody: so each change is on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.holds.book import FILE_NAME, Hold, HoldBook
from icm.errors import ConfigError, NotFoundError, StorageError

HOUR = 3600 * 1_000_000
NOW = 500_000 * HOUR
CASE = Hold("", ("gate",), NOW - 2 * HOUR, NOW - HOUR, "anna", "theft of a bicycle", NOW)


def test_a_hold_covers_what_reaches_into_it_of_its_cameras(tmp_path: Path) -> None:
    book = HoldBook(tmp_path)
    hold, every = book.add(CASE), book.add(replace(CASE, cameras=()))
    assert hold.id != every.id
    for camera, first, last, covered in (
        ("gate", NOW - 2 * HOUR - 9, NOW - 2 * HOUR, True),
        ("gate", NOW - 2 * HOUR - 9, NOW - 2 * HOUR - 1, False),
        ("gate", NOW - HOUR - 1, NOW, True),
        ("gate", NOW - HOUR, NOW, False),
        ("yard", NOW - 2 * HOUR, NOW - HOUR, False),
    ):
        assert hold.covers(camera, first, last) == covered
    assert every.covers("yard", NOW - 2 * HOUR, NOW - HOUR)


def test_holds_are_there_after_a_restart_and_a_released_one_says_who_let_go(tmp_path: Path) -> None:
    one, two = HoldBook(tmp_path).add(CASE), HoldBook(tmp_path).add(CASE)
    HoldBook(tmp_path).release(one.id, "bert", NOW + 5)
    book = HoldBook(tmp_path)
    assert book.all() == [replace(one, released_us=NOW + 5, released_by="bert"), two]
    assert book.active(NOW) == [two]
    for name in (one.id, "h-none"):
        with pytest.raises(NotFoundError, match="no hold"):
            book.release(name, "bert", NOW)


def test_a_hold_ends_by_itself_when_it_expires_but_not_by_a_time_that_nobody_trusts(tmp_path: Path) -> None:
    book = HoldBook(tmp_path)
    hold = book.add(replace(CASE, expires_us=NOW + HOUR))
    assert book.active(NOW + HOUR - 1) == [hold]
    assert book.active(NOW + HOUR) == []
    assert book.active(None) == [hold]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cameras": ("a/b",)}, "a/b"),
        ({"from_us": NOW, "to_us": NOW}, "end after it begins"),
        ({"from_us": -1}, "1970"),
        ({"owner": " "}, "an owner"),
        ({"reason": "x" * 501}, "a reason"),
        ({"expires_us": NOW}, "in the future"),
    ],
)
def test_a_hold_that_cannot_be_is_refused_with_what_is_wrong(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        HoldBook(tmp_path).add(replace(CASE, **change))  # type: ignore[arg-type]
    assert not (tmp_path / FILE_NAME).exists()


def test_a_hold_that_the_disk_did_not_take_is_none_and_one_that_it_did_not_let_go_holds(tmp_path: Path) -> None:
    def refuse() -> None:
        raise StorageError("the store is another's")

    hold = HoldBook(tmp_path).add(CASE)
    book = HoldBook(tmp_path, refuse)
    with pytest.raises(StorageError):
        book.add(CASE)
    with pytest.raises(StorageError):
        book.release(hold.id, "bert", NOW)
    assert book.active(NOW) == [hold]


def test_a_damaged_file_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{}")
    with pytest.raises(StorageError, match=r"holds\.json is damaged"):
        HoldBook(tmp_path)
