"""Verifications by the cloud: what they find, what outlives a restart, and how they end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.proof.chain_file import FOLDER as CHAINS
from cloud_service.proof.chain_file import ChainFile
from cloud_service.verification.child import Place
from cloud_service.verification.jobs import FOLDER, Verifications, all_holds
from cloud_service.verification.record import State, Verification
from icm.errors import BusyError, ConfigError, NotFoundError, StoredDamageError
from icm.service.clock import SystemClock

PATIENCE_SECONDS = 60.0
BLOCKS = 4
"""Of the gate's chain."""


def place_of(store: Path) -> Place:
    return Place(store, store / "records", f"sqlite:///{store / 'cloud.db'}")


@contextmanager
def verifying(store: Path, start: bool = True) -> Iterator[Verifications]:
    verifications = Verifications(place_of(store), SystemClock())
    if start:
        verifications.start()
    try:
        yield verifications
    finally:
        verifications.stop()


def ask(verifications: Verifications, *cameras: str, deep: bool = False, witnesses: tuple[str, ...] = ()) -> str:
    added = verifications.add(cameras=cameras, deep=deep, from_us=None, to_us=None, witnesses=witnesses, by="anna")
    return added.id


def ended(verifications: Verifications, name: str) -> Verification:
    until = time.monotonic() + PATIENCE_SECONDS
    while (found := next(each for each in verifications.all() if each.id == name)).is_open:
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def newest_head(store: Path, camera: str = "gate") -> str:
    return list(ChainFile(store / CHAINS, camera).links(0, []))[-1].link.head.line().decode()


def files_of(store: Path, camera: str) -> list[Path]:
    return sorted((store / "records" / camera).rglob("*.icm"))


def test_what_holds_is_told_with_its_head_and_why_segments_went_and_is_known_after_a_restart(store: Path) -> None:
    with verifying(store) as verifications:
        found = ended(verifications, ask(verifications, "gate", "yard", deep=True, witnesses=(newest_head(store),)))
    gate, yard = found.reports
    assert (found.state, all_holds(found), found.problem) == (State.DONE, True, "")
    assert (gate.camera, gate.blocks, gate.deleted, gate.witnesses) == ("gate", BLOCKS, {"max_age": 1}, 1)
    assert gate.segments["tombstone"] == 1
    assert gate.head == newest_head(store)
    assert gate.hashed_bytes == sum(path.stat().st_size for path in files_of(store, "gate"))
    assert (yard.camera, yard.deleted, yard.witnesses) == ("yard", {}, 0)
    assert found.segments == sum(gate.segments.values()) + sum(yard.segments.values())
    with verifying(store) as again:
        assert again.all() == [found]


def test_a_flipped_bit_a_missing_file_and_a_head_that_the_chain_does_not_have_are_named(store: Path) -> None:
    flipped, missing = files_of(store, "gate")[0], files_of(store, "yard")[0]
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    missing.unlink()
    elsewhere = newest_head(store).replace(" gate ", " yard ")
    with verifying(store) as verifications:
        shallow = ended(verifications, ask(verifications, "gate"))
        deep = ended(verifications, ask(verifications, "gate", "yard", deep=True, witnesses=(elsewhere,)))
    assert all_holds(shallow), "without reading it, a file of the same size is as it was"
    gate, yard = deep.reports
    assert (gate.holds, yard.holds) == (False, False)
    assert any("is altered: its sha256 is" in text for text in gate.broken)
    assert any("is missing" in text for text in yard.broken)
    assert any("which an edge has witnessed, is not there" in text for text in yard.broken)
    assert (gate.segments["ALTERED"], yard.segments["MISSING"]) == (1, 1)


def test_of_very_much_that_does_not_hold_the_first_is_told_and_how_much_more_there_is(store: Path) -> None:
    words = newest_head(store).split()
    at = words.index(str(BLOCKS))
    heads = tuple(" ".join([*words[:at], str(BLOCKS + each), *words[at + 1 :]]) for each in range(1, 37))
    with verifying(store) as verifications:
        (report,) = ended(verifications, ask(verifications, "gate", witnesses=heads)).reports
    assert (len(report.broken), report.more_broken) == (20, 16)


def test_one_that_ran_when_the_cloud_ended_has_failed_after_the_next_start(store: Path) -> None:
    with verifying(store, start=False) as verifications:
        name = ask(verifications, "gate")
        (waiting,) = verifications.all()
        verifications._keep(replace(waiting, state=State.RUNNING))
    with verifying(store) as again:
        (found,) = again.all()
        assert (found.id, found.state) == (name, State.FAILED)
        assert "ask for it again" in found.problem
        assert all_holds(ended(again, ask(again, "gate")))


def test_the_process_may_die_and_the_next_one_verifies(store: Path) -> None:
    with verifying(store) as verifications:
        name = ask(verifications, "gate", deep=True)
        until = time.monotonic() + PATIENCE_SECONDS
        while (child := verifications._child) is None and time.monotonic() < until:
            time.sleep(0.001)
        assert child is not None
        child.kill()
        failed = ended(verifications, name)
        assert (failed.state, failed.reports) == (State.FAILED, ())
        assert "ended with status -9" in failed.problem
        assert ended(verifications, ask(verifications, "gate")).state is State.DONE


def test_one_that_waits_or_runs_is_cancelled_and_one_that_ended_is_not(store: Path) -> None:
    with verifying(store, start=False) as verifications:
        first, second = ask(verifications, "gate"), ask(verifications, "yard")
        assert verifications.cancel(second).state is State.CANCELLED
        verifications.start()
        assert ended(verifications, first).state is State.DONE
        with pytest.raises(ConfigError, match="is done already"):
            verifications.cancel(first)
        with pytest.raises(NotFoundError, match="there is no verification 'v-0'"):
            verifications.cancel("v-0")
        assert ended(verifications, second).state is State.CANCELLED


def test_few_may_wait_and_a_hundred_are_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.verification.jobs.MOST", 10)
    with verifying(store, start=False) as verifications:
        names = []
        for _ in range(12):
            names.append(ask(verifications, "gate"))
            verifications.cancel(names[-1])
        assert [each.id for each in verifications.all()] == names[:1:-1]
        assert len(list((store / FOLDER).iterdir())) == 10
        for _ in range(8):
            ask(verifications, "gate")
        with pytest.raises(BusyError, match="8 verifications wait already"):
            ask(verifications, "gate")


def test_a_damaged_record_of_one_is_left_out_and_the_others_are_known(store: Path) -> None:
    with verifying(store, start=False) as verifications:
        ask(verifications, "gate")
    (path,) = (store / FOLDER).iterdir()
    path.with_name("other.json").write_text("{")
    with verifying(store) as again:
        assert len(again.all()) == 1
    for text in ("", "[]", "{}", path.read_text().replace('"state"', '"stat"'), path.read_text()[:-9]):
        with pytest.raises(StoredDamageError):
            Verification.from_text(text)


def test_a_store_whose_database_does_not_answer_fails_and_says_so(store: Path) -> None:
    (store / "cloud.db").write_bytes(b"this is no database" * 100)
    with verifying(store) as verifications:
        failed = ended(verifications, ask(verifications, "gate"))
    assert failed.state is State.FAILED
    assert "database" in failed.problem
