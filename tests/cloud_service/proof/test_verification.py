"""``icm-cloud verify`` finds every kind of tampering and names it, with a database and from the files alone."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from cloud_service.cli import main
from cloud_service.database.opening import open_database
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.signing import signing_key
from cloud_service.proof.tombstones import write_tombstones
from cloud_service.store.index.deleted import DeletedSegments
from icm.proof.chain import Link, make_link
from icm.proof.entries import Leaf
from icm.proof.keys import SigningKey
from icm.service.clock import ManualClock
from tests.cloud_service.parts import START_US, close_stores, header, raw, record
from tests.cloud_service.proof.kept import STORE, Kept
from tests.cloud_service.proof.test_keeper import deletion

CHAIN = "proof/gate.chain"


def verify(capsys: pytest.CaptureFixture[str], place: list[str], *options: str) -> tuple[int, str]:
    """Exit status and output of the command."""
    status = main(["verify", *place, *options])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def segment(store: Path, number: int, camera: str = "gate") -> Path:
    (path,) = (store / "records" / camera).rglob(f"*-{number:06d}.icm")
    return path


def links(store: Path, camera: str = "gate") -> list[Link]:
    return [placed.link for placed in ChainFile(store / "proof", camera).links()]


def rewrite(store: Path, found: list[Link], camera: str = "gate") -> None:
    (store / f"proof/{camera}.chain").write_bytes(b"".join(link.pack() for link in found))


def changed_leaf(link: Link, number: int) -> Link:
    """The block with another digest in the leaf of a segment."""
    entries = [
        Leaf(replace(entry.facts, sha256=bytes(32)), entry.origin)
        if isinstance(entry, Leaf) and entry.facts.number == number
        else entry
        for entry in link.entries
    ]
    return replace(link, entries=tuple(entries))


def test_an_archive_that_nobody_touched_holds(
    capsys: pytest.CaptureFixture[str], store: Path, place: list[str]
) -> None:
    for options in ([], ["--deep"], ["--key", signing_key(store).public.hex()]):
        status, said = verify(capsys, place, *options)
        assert status == 0, said
        assert "gate 1: ok\ngate 2: tombstone(max_age)\ngate 3-6: ok\n" in said
        assert "yard 1-2: ok" in said
        assert "8 segments" in said
        assert "all holds" in said


def flip(store: Path) -> None:
    path = segment(store, 3)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


def truncate(store: Path) -> None:
    path = segment(store, 3)
    path.write_bytes(path.read_bytes()[:-30])


def prolong(store: Path) -> None:
    with segment(store, 3).open("ab") as file:
        file.write(segment(store, 4).read_bytes()[-30:])


def remove(store: Path) -> None:
    segment(store, 3).unlink()


def swap(store: Path) -> None:
    one, other = segment(store, 3), segment(store, 4)
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def replace_by_another_cameras(store: Path) -> None:
    segment(store, 3).write_bytes(segment(store, 1, "yard").read_bytes())


def add_in_place_of_a_deleted_one(store: Path) -> None:
    path = segment(store, 3)
    path.with_name(path.name.replace("-000003", "-000002")).write_bytes(path.read_bytes())


def add_before_all(store: Path) -> None:
    path = segment(store, 3)
    path.with_name(path.name.replace("-000003", "-000000")).write_bytes(path.read_bytes())


def add_twice(store: Path) -> None:
    path = segment(store, 3)
    path.with_name("20260921T140000000000Z-000003.icm").write_bytes(path.read_bytes())


def drop_block(store: Path) -> None:
    found = links(store)
    rewrite(store, found[:1] + found[2:])


def reorder_blocks(store: Path) -> None:
    found = links(store)
    rewrite(store, [found[0], found[2], found[1], *found[3:]])


def change_leaf(store: Path) -> None:
    found = links(store)
    rewrite(store, [found[0], changed_leaf(found[1], 3), *found[2:]])


def change_bit_of_chain(store: Path) -> None:
    data = bytearray((store / CHAIN).read_bytes())
    data[len(links(store)[0].pack()) + 200] ^= 1
    (store / CHAIN).write_bytes(data)


def take_anothers_leaves(store: Path) -> None:
    found, others = links(store), links(store, "yard")
    rewrite(store, [replace(found[0], entries=others[0].entries), *found[1:]])


def take_anothers_chain(store: Path) -> None:
    shutil.copy(store / "proof/yard.chain", store / CHAIN)


def remove_tombstone(store: Path) -> None:
    found = links(store)
    rewrite(store, [link for link in found if link.entries[0] not in buried(found)])


def buried(found: list[Link]) -> list[object]:
    return [entry for link in found for entry in link.entries if not isinstance(entry, Leaf)]


def rewritten(store: Path, key: SigningKey) -> None:
    """All of the chain anew, so that a file which was changed fits."""
    truncate(store)
    found = links(store)
    path, again = segment(store, 3), list[Link]()
    for link in found:
        entries = [
            Leaf(replace(entry.facts, size=path.stat().st_size, sha256=digest(path), records=9, sequences="21-29"),
                 entry.origin)
            if isinstance(entry, Leaf) and entry.facts.number == 3 else entry
            for entry in link.entries
        ]  # fmt: skip
        again.append(
            make_link(
                store=STORE,
                camera="gate",
                previous=again[-1].head if again else None,
                entries=entries,
                key=key,
                now_us=link.head.signed_us,
            )
        )
    rewrite(store, again)


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


TAMPERING: list[tuple[Callable[[Path], None], list[str], str]] = [
    (flip, ["--deep"], "gate 3: ALTERED: its sha256 is"),
    (truncate, [], "gate 3: ALTERED: it has 336 bytes, and 366 were sealed"),
    (prolong, [], "gate 3: ALTERED: it has 396 bytes, and 366 were sealed"),
    (remove, [], "gate 3: MISSING: its file is not there"),
    (swap, ["--deep"], "gate 3: ALTERED: its sha256 is"),
    (replace_by_another_cameras, ["--deep"], "gate 3: ALTERED"),
    (add_in_place_of_a_deleted_one, ["--deep"], "gate 2: ADDED: another file lies under the number of a deleted one"),
    (add_before_all, [], "gate 0: ADDED: the chain knows nothing of it"),
    (add_twice, [], "gate 3: ADDED: there are two files of this number"),
    (drop_block, [], "block 3 of camera gate does not follow block 1"),
    (reorder_blocks, [], "block 3 of camera gate does not follow block 1"),
    (change_leaf, [], "the entries of block 2 of camera gate are not those that its root was made of"),
    (change_bit_of_chain, [], "gate.chain, byte|block 2 of camera gate"),
    (take_anothers_leaves, [], "block 1 of camera gate holds an entry of another camera"),
    (take_anothers_chain, [], "gate 3-6: MISSING|another chain|BROKEN"),
    (remove_tombstone, [], "does not follow"),
]


@pytest.mark.parametrize(("tamper", "options", "said"), TAMPERING, ids=[each[0].__name__ for each in TAMPERING])
def test_tampering_is_found_and_named(
    capsys: pytest.CaptureFixture[str],
    store: Path,
    place: list[str],
    tamper: Callable[[Path], None],
    options: list[str],
    said: str,
) -> None:
    tamper(store)
    status, output = verify(capsys, place, *options)
    assert status == 1, output
    assert any(each in output for each in said.split("|")), output
    assert "BROKEN" in output.splitlines()[-1]


def test_a_chain_that_was_rewritten_without_its_key_is_signed_by_another(
    capsys: pytest.CaptureFixture[str], store: Path, place: list[str]
) -> None:
    known = signing_key(store).public.hex()
    witness = store.parent / "heads.txt"
    witness.write_bytes(links(store)[0].head.line() + b"\n")
    rewritten(store, SigningKey.new())
    assert (
        f"block 1 of camera gate is signed with another key ({links(store)[0].head.key.hex()})"
        in verify(capsys, place, "--key", known)[1]
    )
    status, output = verify(capsys, place, "--witness", str(witness))
    assert status == 1
    assert "block 1 of camera gate is not the one that an edge has witnessed" in output


def test_a_chain_that_its_own_key_signed_anew_is_found_by_witnesses(
    capsys: pytest.CaptureFixture[str], store: Path, place: list[str]
) -> None:
    witness = store.parent / "heads.txt"
    witness.write_bytes(b"".join(link.head.line() + b"\n" for link in links(store)[:3]))
    assert verify(capsys, place, "--witness", str(witness))[0] == 0
    rewritten(store, signing_key(store))
    status, output = verify(capsys, place, "--witness", str(witness))
    assert status == 1
    assert "block 2 of camera gate is not the one that an edge has witnessed" in output


def test_a_chain_that_was_cut_at_its_end_is_found_by_witnesses_and_by_the_database(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    witness, last = store.parent / "heads.txt", links(store)[-1].head
    witness.write_bytes(last.line() + b"\n")
    rewrite(store, links(store)[:2])
    for number in (5, 6):
        segment(store, number).unlink()
    assert verify(capsys, ["--store", str(store)])[0] == 1  # segment 2 is gone, and its tombstone with the cut
    status, output = verify(capsys, ["--store", str(store)], "--witness", str(witness))
    assert status == 1
    assert f"block {last.block} of camera gate, which an edge has witnessed, is not there" in output
    status, output = verify(capsys, ["--set", f"store.folder={store}"])
    assert status == 1
    assert f"the chain of camera gate was cut: the database has seen block {last.block}, the last is 2" in output


def test_a_database_that_was_rewritten_contradicts_the_chain(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    truncate(store)
    database = open_database(f"sqlite:///{store / 'cloud.db'}")
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments WHERE number = 3"))
        connection.execute(text("DELETE FROM chains"))
    kept = Kept(store, database)
    kept.keeper.work()
    kept.close()
    close_stores(database)
    for options in (["--set", f"store.folder={store}"], ["--store", str(store)]):
        status, output = verify(capsys, options)
        assert status == 1
        assert "gate 3: ALTERED: the cloud itself found it changed, and noted that" in output


def test_a_tombstone_that_was_invented_in_the_database_is_none(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    database = open_database(f"sqlite:///{store / 'cloud.db'}")
    kept = Kept(store, database)
    with database.begin() as connection:
        write_tombstones(connection, [deletion(kept.segments()[1])])
        connection.execute(text("DELETE FROM record_segments WHERE number = 3"))
    segment(store, 3).unlink()
    kept.crash()
    close_stores(database)
    status, output = verify(capsys, ["--set", f"store.folder={store}"])
    assert status == 1
    assert "gate 3: MISSING: its file is not there; the database says that it was deleted (max_age)" in output


def test_a_tombstone_is_about_its_own_segment_and_says_when_it_came_late(
    capsys: pytest.CaptureFixture[str], store: Path, place: list[str]
) -> None:
    database = open_database(f"sqlite:///{store / 'cloud.db'}")
    kept = Kept(store, database, ManualClock(START_US + 5 * 3600 * 1_000_000))
    third, fourth = (next(of for of in kept.segments() if of.number == number) for number in (3, 4))
    kept.keeper.deleted([deletion(third), replace(deletion(fourth), segment=replace(fourth, size=1))])
    kept.close()
    close_stores(database)
    segment(store, 3).unlink()
    status, output = verify(capsys, place)
    assert status == 1
    assert "gate 3: tombstone(max_age; noted 4 h after it says that it was deleted)" in output
    assert "gate 4: ALTERED: its tombstone is about another segment" in output


def test_what_grows_or_waits_for_its_block_is_open(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    database = open_database(f"sqlite:///{store / 'cloud.db'}")
    kept = Kept(store, database)
    of = header()
    kept.store.append(of, raw([record(number) for number in range(61, 75)], of))
    for place in (["--set", f"store.folder={store}"], ["--store", str(store)]):
        status, output = verify(capsys, place, "--deep")
        assert status == 0, output
        assert "gate 7-8: open" in output
    close_stores(database)


def test_a_deletion_of_this_hour_waits_for_its_block_and_one_that_is_older_does_not(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    now_us = time.time_ns() // 1000
    database = open_database(f"sqlite:///{store / 'cloud.db'}")
    kept = Kept(store, database)
    kept.keeper.work()
    third, fourth = (next(of for of in kept.segments() if of.number == number) for number in (3, 4))
    gone = [replace(deletion(third), at_us=now_us), replace(deletion(fourth), at_us=now_us - 3 * 3_600_000_000)]
    for each in gone:
        DeletedSegments(store / "records").note([each.segment], each.reason, each.rule, each.at_us - 86_400_000_000 * 2)
    with database.begin() as connection:
        write_tombstones(connection, gone)
    segment(store, 3).unlink()
    segment(store, 4).unlink()
    kept.crash()
    close_stores(database)
    status, output = verify(capsys, ["--set", f"store.folder={store}"])
    assert status == 1
    assert "gate 3: open: deleted (max_age), and waits for its block" in output
    assert "gate 4: MISSING" in output
    status, output = verify(capsys, ["--store", str(store)])
    assert "gate 3-4: MISSING" in output
    DeletedSegments(store / "records").note([third, fourth], "max_age", "older than 30 days", now_us)
    status, output = verify(capsys, ["--store", str(store)])
    assert (status, "gate 3-4: open: deleted (max_age), and waits for its block" in output) == (0, True)
