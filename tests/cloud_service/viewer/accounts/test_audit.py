"""The audit log: each line names the one before, whoever writes; what was changed is found."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_service.viewer.accounts.audit import AuditEntry, AuditLog
from icm.errors import NotFoundError, ProofError
from icm.service.clock import ManualClock, SystemClock

MONTH_SECONDS = 31 * 24 * 3600


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path, ManualClock())


def the_file(folder: Path) -> Path:
    return next((folder / "audit").glob("*.log"))


def test_what_was_done_is_read_newest_first_in_pages(audit: AuditLog) -> None:
    for number in range(25):
        audit.write("vera", "192.0.2.1", "looked", f"gate {number}")
    found, cursor = [], ""
    while True:
        page = audit.page(cursor, 10)
        found += page.entries
        cursor = page.older
        if not cursor:
            break
    assert [entry.about for entry in found] == [f"gate {number}" for number in reversed(range(25))]
    assert [entry.number for entry in found] == list(range(25, 0, -1))
    assert audit.verify().number == 25


def test_pages_go_on_from_month_to_month_and_a_year_is_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    audit = AuditLog(tmp_path, clock)
    for _ in range(16):
        audit.write("vera", "", "looked")
        audit.write("otto", "", "looked")
        clock.advance(MONTH_SECONDS)
    assert len(list((tmp_path / "audit").glob("*.log"))) == 13
    page = audit.page("", 3)
    assert [entry.number for entry in page.entries] == [32, 31, 30]
    assert [entry.number for entry in audit.page(page.older, 100).entries] == list(range(29, 6, -1))
    assert audit.verify().number == 32


def test_a_clock_that_was_set_back_breaks_nothing(tmp_path: Path) -> None:
    AuditLog(tmp_path, ManualClock(1_800_000_000_000_000)).write("vera", "", "looked")
    audit = AuditLog(tmp_path, ManualClock(1_700_000_000_000_000))
    audit.write("vera", "", "looked")
    assert audit.verify().number == 2
    assert [entry.number for entry in audit.page().entries] == [2, 1]


@pytest.mark.parametrize("what", ["changed", "removed", "inserted", "swapped"])
def test_a_line_that_was_tampered_with_is_named(audit: AuditLog, tmp_path: Path, what: str) -> None:
    for number in range(6):
        audit.write("vera", "", "looked", str(number))
    path = the_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    if what == "changed":
        lines[2] = lines[2].replace(b" vera ", b" otto ")
    elif what == "removed":
        del lines[2]
    elif what == "inserted":
        lines.insert(3, lines[2])
    else:
        lines[2], lines[3] = lines[3], lines[2]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ProofError, match=rf"{path.name}, line [34]: it does not follow"):
        audit.verify()


def test_a_log_that_was_cut_shows_another_digest(audit: AuditLog, tmp_path: Path) -> None:
    heads = []
    for number in range(3):
        audit.write("vera", "", "looked", str(number))
        heads.append(audit.verify())
    path = the_file(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert audit.verify() == heads[1] != heads[2]


def test_a_line_that_a_crash_cut_is_left_out_and_the_next_one_follows_what_is_whole(
    audit: AuditLog, tmp_path: Path
) -> None:
    audit.write("vera", "", "looked")
    with the_file(tmp_path).open("ab") as file:
        file.write(b"icm-audit-1 2 17000000")
    assert [entry.number for entry in audit.page().entries] == [1]
    audit.write("otto", "", "looked")
    assert [entry.who for entry in audit.page().entries] == ["otto", "vera"]
    assert audit.verify().number == 2


def write_many(folder: Path) -> None:
    audit = AuditLog(folder, SystemClock())
    for _ in range(20):
        audit.write("vera", "", "looked")


def test_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert AuditLog(tmp_path, SystemClock()).verify().number == 40


@settings(max_examples=25, deadline=None)
@given(who=st.text(max_size=400), about=st.text(max_size=400))
def test_any_text_makes_one_line_that_is_read_as_it_was(who: str, about: str) -> None:
    who, about = (text.encode(errors="ignore").decode() for text in (who, about))
    line = AuditEntry(1, 2, who, "::1", "log-in-failed", about, "0" * 64).line()
    assert line.isascii()
    assert b"\n" not in line
    read = AuditEntry.of(line)
    assert read.line() == line
    if len(who) <= 300 and len(about) <= 300 and "-" not in (who, about):
        assert (read.who, read.about) == (who, about)


@pytest.mark.parametrize("cursor", ["x", "2023-11-1", "2023-11-99999999", "2099-01-0", "../lock-0", "2023-11--1"])
def test_a_page_that_is_none_is_refused(audit: AuditLog, cursor: str) -> None:
    audit.write("vera", "", "looked")
    with pytest.raises(NotFoundError, match="no such page"):
        audit.page(cursor)


def test_nobody_else_on_the_machine_reads_it(audit: AuditLog, tmp_path: Path) -> None:
    audit.write("vera", "", "looked")
    assert the_file(tmp_path).stat().st_mode & 0o777 == 0o600
