"""A chain does not grow for ever: entries of what is wholly gone are dropped, and what is left is as good as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.cli import main
from cloud_service.proof import chains, keeper
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.chain_index import ChainIndex
from icm.proof.chain import Link
from icm.proof.entries import Leaf
from icm.proof.statements import Pruned
from icm.service.clock import ManualClock
from tests.cloud_service.parts import START_US, close_stores
from tests.cloud_service.proof.kept import Kept, links
from tests.cloud_service.proof.test_keeper import delete, deletion, forget

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two entries, and nothing that is too little to be dropped."""
    monkeypatch.setattr(keeper, "MOST_LEAVES", 2)
    monkeypatch.setattr(chains, "LEAST_SEGMENTS", 1)


def filled(folder: Path, database: Engine) -> Kept:
    """A store of twelve segments in six blocks."""
    kept = Kept(folder, database, ManualClock(START_US))
    kept.append(1, 120)
    kept.keeper.work()
    kept.store.close()
    kept.keeper.work(close=True)
    assert [len(link.entries) for link in links(folder)] == [2] * 6
    return kept


def pruned(folder: Path, database: Engine) -> Kept:
    """The same, of which 1 to 5 and 7 were deleted more than a day ago: the first two blocks are wholly gone."""
    kept = filled(folder, database)
    delete(kept, 1, 2, 3, 4)
    delete(kept, 5, 7)
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    return kept


def bare(folder: Path) -> list[int]:
    """Numbers of the blocks that have no entries."""
    return [link.block.number for link in links(folder) if link.pruned]


def statement(folder: Path) -> Pruned:
    """The newest."""
    return [entry for link in links(folder) for entry in link.entries if isinstance(entry, Pruned)][-1]


def verify(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> tuple[int, str]:
    status = main(["verify", "--store", str(folder), *options])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def rewrite(folder: Path, found: list[Link]) -> None:
    (folder / "proof/gate.chain").write_bytes(b"".join(link.pack() for link in found))


def test_leaves_of_blocks_that_are_wholly_gone_and_their_tombstones_are_dropped(
    tmp_path: Path, database: Engine
) -> None:
    kept = filled(tmp_path, database)
    before = links(tmp_path)
    delete(kept, 1, 2, 3, 4)
    delete(kept, 5, 7)
    whole = (tmp_path / "proof/gate.chain").stat().st_size
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    # Blocks 1 and 2 have the leaves of 1 to 4, blocks 7 and 8 their tombstones; 5 shares a block with 6, and 7 with 8.
    assert bare(tmp_path) == [1, 2, 7, 8]
    assert (tmp_path / "proof/gate.chain").stat().st_size < whole
    assert [link.head for link in links(tmp_path)[:6]] == [link.head for link in before]
    said = statement(tmp_path)
    assert (said.blocks, said.segments, said.reasons) == (((1, 2), (7, 8)), ((1, 4),), (("max_age", 4),))
    assert (said.first_us, said.last_us) == (START_US, START_US + 3_900_000)


def test_a_chain_that_was_pruned_holds_shallow_deep_and_before_witnesses(
    tmp_path: Path, database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = filled(tmp_path, database)
    witness = tmp_path / "heads.txt"
    witness.write_bytes(b"".join(link.head.line() + b"\n" for link in links(tmp_path)))
    delete(kept, 1, 2, 3, 4)
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    assert bare(tmp_path)
    url = database.url.render_as_string(hide_password=False)
    for options in (["--store", str(tmp_path)], ["--set", f"store.folder={tmp_path}", "--set", f"database={url}"]):
        for more in ([], ["--deep"], ["--deep", "--witness", str(witness)]):
            status = main(["verify", *options, *more])
            output = capsys.readouterr().out
            assert status == 0, output
            assert "gate: 4 segments from 2026-09-21T14:13:20Z to 2026-09-21T14:13:23Z were deleted" in output
            assert "gate 5-12: ok" in output


def test_the_next_time_says_all_that_was_dropped_so_far(
    tmp_path: Path, database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = pruned(tmp_path, database)
    first = statement(tmp_path)
    delete(kept, 6, 8, 9, 10)
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    said = statement(tmp_path)
    assert said.segments == ((1, 10),)
    assert said.reasons == (("max_age", 10),)
    assert all(said.drops(block) for low, high in first.blocks for block in range(low, high + 1))
    # The statement of before went, too: all is in the newest.
    assert sum(isinstance(entry, Pruned) for link in links(tmp_path) for entry in link.entries) == 1
    assert verify(capsys, tmp_path, "--deep")[0] == 0


def test_what_was_deleted_within_a_day_keeps_its_entries(tmp_path: Path, database: Engine) -> None:
    kept = filled(tmp_path, database)
    delete(kept, 1, 2, 3, 4)
    kept.clock.advance(DAY - HOUR)
    kept.keeper.work()
    assert bare(tmp_path) == []


def test_a_start_knows_what_was_dropped_with_its_database_and_without(
    tmp_path: Path, database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = pruned(tmp_path, database)
    kept.close()
    size = (tmp_path / "proof/gate.chain").stat().st_size
    for lost in ((), ("chains", "chain_blocks"), ("chains", "chain_blocks", "tombstones")):
        forget(database, *lost)
        again = Kept(tmp_path, database, ManualClock(kept.clock.now_us()))
        again.keeper.work()
        assert all(again.keeper.is_deleted("gate", number) for number in (1, 2, 3, 4, 5, 7))
        again.close()
        assert (tmp_path / "proof/gate.chain").stat().st_size == size
        assert again.problems.lines() == []
    assert verify(capsys, tmp_path, "--deep")[0] == 0
    close_stores(database)


@pytest.mark.parametrize("when", ["before the file is written anew", "before the database knows"])
def test_a_crash_while_entries_are_dropped_leaves_a_chain_that_holds_and_counts_nothing_twice(
    tmp_path: Path,
    database: Engine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    kept = filled(tmp_path, database)
    delete(kept, 1, 2, 3, 4)
    kept.clock.advance(DAY + HOUR)
    with monkeypatch.context() as patch:
        if when == "before the file is written anew":
            patch.setattr(ChainFile, "drop_entries", killed)
        else:
            drop = ChainFile.drop_entries

            def dropped(file: ChainFile, said: Pruned) -> None:
                drop(file, said)
                raise Killed

            patch.setattr(ChainFile, "drop_entries", dropped)
        with pytest.raises(Killed):
            kept.keeper.work()
    assert verify(capsys, tmp_path, "--deep")[0] == 0
    again = Kept(tmp_path, database, ManualClock(kept.clock.now_us() + round(DAY * 1e6)))
    again.keeper.work()
    again.close()
    assert set(bare(tmp_path)) >= {1, 2, 7, 8}
    assert statement(tmp_path).reasons == (("max_age", 4),)
    assert again.problems.lines() == []
    status, output = verify(capsys, tmp_path, "--deep")
    assert status == 0, output
    close_stores(database)


def test_who_looked_up_a_block_before_finds_it_afterwards(tmp_path: Path, database: Engine) -> None:
    kept = filled(tmp_path, database)
    index, file = ChainIndex(database), ChainFile(tmp_path / "proof", "gate")
    places, all_places = index.blocks_of("gate", 5, 8), index.blocks_from("gate", 1, 256)
    expected = [(link.block, link.head) for link in links(tmp_path)]
    delete(kept, 1, 2, 3, 4)
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    assert bare(tmp_path)
    assert next(file.links_from(places[0])).segments[0].facts.number == 5
    assert [link.block.number for link in file.links_from(places[0])] == list(range(3, 10))
    assert file.frames(all_places) == expected
    assert index.blocks_of("gate", 5, 8) != places
    assert file.frames(index.blocks_from("gate", 1, 256))[:6] == expected


def test_what_does_not_hold_is_not_dropped(
    tmp_path: Path, database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = filled(tmp_path, database)
    first, second = kept.segments()[:2]
    kept.keeper.deleted([replace(deletion(first), segment=replace(first, size=1)), deletion(second)])
    delete(kept, 3, 4)
    found = links(tmp_path)
    leaf = found[1].entries[0]
    assert isinstance(leaf, Leaf)
    changed = Leaf(replace(leaf.facts, sha256=bytes(32)), leaf.origin)
    rewrite(tmp_path, [found[0], replace(found[1], entries=(changed, found[1].entries[1])), *found[2:]])
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    assert not any(placed.link.pruned for placed in ChainFile(tmp_path / "proof", "gate").links())
    status, output = verify(capsys, tmp_path)
    assert status == 1
    assert "gate 1: ALTERED: its tombstone is about another segment" in output
    assert "the entries of block 2 of camera gate are not those that its root was made of" in output


def strip_another_block(folder: Path) -> None:
    rewrite(folder, [replace(link, entries=()) if link.block.number == 5 else link for link in links(folder)])


def strip_and_remove(folder: Path) -> None:
    strip_another_block(folder)
    for number in (9, 10):
        next((folder / "records").rglob(f"*-{number:06d}.icm")).unlink()


def drop_a_bare_block(folder: Path) -> None:
    rewrite(folder, [link for link in links(folder) if link.block.number != 1])


def change_a_bare_block(folder: Path) -> None:
    found = links(folder)
    rewrite(folder, [replace(found[0], block=replace(found[0].block, last_number=1)), *found[1:]])


def remove_a_segment(folder: Path) -> None:
    next((folder / "records").rglob("*-000009.icm")).unlink()


def add_in_place_of_a_deleted_one(folder: Path) -> None:
    path = next((folder / "records").rglob("*-000009.icm"))
    path.with_name(path.name.replace("-000009", "-000002")).write_bytes(path.read_bytes())


def say_more_was_dropped(folder: Path) -> None:
    changed = []
    for link in links(folder):
        entries = [
            replace(entry, blocks=(*entry.blocks[:-1], (entry.blocks[-1][0], 99)))
            if isinstance(entry, Pruned)
            else entry
            for entry in link.entries
        ]
        changed.append(replace(link, entries=tuple(entries)))
    rewrite(folder, [replace(link, entries=()) if link.block.number == 5 else link for link in changed])


def remove_what_says_so(folder: Path) -> None:
    found = links(folder)
    assert any(isinstance(entry, Pruned) for entry in found[-1].entries)
    rewrite(folder, found[:-1])


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (strip_another_block, "the entries of block 5 of camera gate are not there, and no later block says"),
        (strip_and_remove, "the entries of block 5 of camera gate are not there, and no later block says"),
        (drop_a_bare_block, "block 2 of camera gate does not follow block 0"),
        (change_a_bare_block, "the head of block 1 of camera gate is another block's, or the block's line was changed"),
        (remove_a_segment, "gate 9: MISSING"),
        (add_in_place_of_a_deleted_one, "gate 2: ADDED: a segment of this number was deleted"),
        (say_more_was_dropped, "are not those that its root was made of"),
        (remove_what_says_so, "the entries of block 1 of camera gate are not there, and no later block says"),
    ],
)
def test_tampering_with_what_is_left_is_found_and_named(
    tmp_path: Path,
    database: Engine,
    capsys: pytest.CaptureFixture[str],
    tamper: Callable[[Path], None],
    said: str,
) -> None:
    pruned(tmp_path, database).crash()
    assert verify(capsys, tmp_path, "--deep")[0] == 0
    tamper(tmp_path)
    status, output = verify(capsys, tmp_path, "--deep")
    assert status == 1, output
    assert said in output


def test_a_chain_is_not_read_for_the_little_that_was_deleted_since(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "LEAST_SEGMENTS", 5)
    kept = filled(tmp_path, database)
    delete(kept, 1, 2, 3, 4)
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    assert bare(tmp_path) == []
    delete(kept, 5, 6)
    kept.clock.advance(DAY + HOUR)
    kept.keeper.work()
    assert bare(tmp_path)
