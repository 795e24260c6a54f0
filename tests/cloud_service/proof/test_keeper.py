"""Every sealed segment gets a leaf and every deleted one a tombstone, whatever crashes, is lost or is torn."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import google_crc32c
import pytest
from sqlalchemy import Engine, text

from cloud_service.database.statements import transaction
from cloud_service.proof import keeper as keeping
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.signing import key_path
from cloud_service.proof.tombstones import Deletion, write_tombstones
from cloud_service.store import Segment
from icm.errors import ProofError
from icm.proof.entries import Leaf
from icm.proof.keys import SigningKey
from icm.service.clock import ManualClock
from tests.cloud_service.parts import FRAME_US, START_US, close_stores
from tests.cloud_service.proof.kept import Kept, entries, links, told, tombstones

HOUR = 3600.0


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def deletion(segment: Segment, reason: str = "max_age") -> Deletion:
    return Deletion(segment, reason, "older than 30 days", "retention", START_US + 5)


def delete(kept: Kept, *numbers: int, chained: bool = True) -> None:
    """As retention does it."""
    gone = [segment for segment in kept.segments() if segment.number in numbers]
    deletions = [deletion(segment) for segment in gone]
    paths = [kept.path(number) for number in numbers]
    with transaction(kept.database) as connection:
        for number in numbers:
            connection.execute(text("DELETE FROM record_segments WHERE number = :number"), {"number": number})
        write_tombstones(connection, deletions)
    if chained:
        kept.keeper.deleted(deletions)
        for path in paths:
            path.unlink()


def rows(database: Engine, table: str) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}")))


def forget(database: Engine, *tables: str) -> None:
    with database.begin() as connection:
        for table in tables:
            connection.execute(text(f"DELETE FROM {table}"))


def test_every_sealed_segment_gets_a_leaf_that_says_what_its_file_is(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 25)
    kept.append(1, 10, "yard")
    kept.close()
    found = entries(tmp_path)
    assert told(found) == [(1, "sealed"), (2, "sealed"), (3, "sealed")]
    for leaf in found:
        file = kept.path(leaf.facts.number)
        assert leaf.facts.sha256 == hashlib.sha256(file.read_bytes()).digest()
        assert leaf.facts.size == file.stat().st_size
    assert [(leaf.facts.sequences, leaf.facts.records) for leaf in found] == [("1-10", 10), ("11-20", 10), ("21-25", 5)]
    assert told(entries(tmp_path, "yard")) == [(1, "sealed")]


def test_a_block_ends_with_its_hour_of_segments_and_when_it_is_full(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_LEAVES", 4)
    kept = Kept(tmp_path, database, ManualClock(START_US + 10 * 3600 * 1_000_000))
    kept.append(1, 60)
    kept.append(36_001, 36_020)
    kept.close()
    found = [[leaf.facts.number for leaf in link.entries] for link in links(tmp_path)]
    assert found == [[1, 2, 3, 4], [5, 6], [7, 8]]
    assert [(link.block.first_number, link.block.last_number) for link in links(tmp_path)] == [(1, 4), (5, 6), (7, 8)]


def test_a_camera_that_fell_silent_gets_its_block_with_the_hour(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 11)
    kept.keeper.work()
    assert links(tmp_path) == []
    kept.clock.advance(HOUR)
    kept.keeper.work()
    assert told(entries(tmp_path)) == [(1, "sealed")]
    newest = kept.keeper.newest("gate")
    assert newest == links(tmp_path)[-1].head
    assert kept.keeper.newest("yard") is None


def test_what_a_crash_kept_out_of_a_block_is_put_there_at_the_next_start(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 15)
    kept.close()
    kept = Kept(tmp_path, database)
    kept.append(16, 35)
    kept.crash()
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.close()
    assert told(entries(tmp_path)) == [(n, "sealed" if n < 3 else "found") for n in range(1, 5)]
    Kept(tmp_path, database).close()
    assert len(entries(tmp_path)) == 4


def test_an_append_that_was_torn_anywhere_is_cut_and_made_again(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 10)
    kept.close()
    path = tmp_path / "proof/gate.chain"
    first = path.stat().st_size
    kept = Kept(tmp_path, database)
    kept.append(11, 20)
    kept.close()
    whole, before = path.read_bytes(), rows(database, "chains")
    for size in (first + 1, first + 100, first + 400, len(whole) - 1):
        path.write_bytes(whole[:size])
        with database.begin() as connection:
            # A power cut may cost what SQLite wrote last as well.
            head = links(tmp_path)[0].head.line().decode()
            values = {"size": first, "head": head, "numbers": "1-1"}
            connection.execute(text("UPDATE chains SET size = :size, head = :head, numbers = :numbers"), values)
            connection.execute(text("DELETE FROM chain_blocks WHERE block = 2"))
        kept = Kept(tmp_path, database)
        kept.keeper.work()
        kept.close()
        assert told(entries(tmp_path)) == [(1, "sealed"), (2, "found")]
        assert kept.problems.lines() == []
        assert path.with_name("gate.chain.damaged").read_bytes() == whole[first:size]
        path.with_name("gate.chain.damaged").unlink()
    assert [row[0] for row in rows(database, "chains")] == [row[0] for row in before]


def test_segments_of_before_there_were_chains_get_leaves_that_say_so(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 25)
    kept.close()
    shutil.rmtree(tmp_path / "proof")
    forget(database, "chains", "chain_blocks")
    with database.begin() as connection:
        # As rows of before digests are.
        columns = "camera, number, epoch, path, size, records, first_capture_us, last_capture_us, sequences"
        fields = list(connection.execute(text(f"SELECT {columns} FROM record_segments WHERE number = 1")).one())
        values = {"none": b"", "checksum": google_crc32c.value(repr(fields).encode())}
        update = "UPDATE record_segments SET sha256 = :none, checksum = :checksum WHERE number = 1"
        connection.execute(text(update), values)
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.close()
    found = entries(tmp_path)
    assert told(found) == [(1, "found"), (2, "found"), (3, "found")]
    for leaf in found:
        assert leaf.facts.sha256 == hashlib.sha256(kept.path(leaf.facts.number).read_bytes()).digest()


def test_a_database_that_is_lost_is_told_all_again(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 25)
    kept.keeper.work()
    kept.store.close()
    delete(kept, 1, 2)
    kept.close()
    before = [rows(database, table) for table in ("chains", "chain_blocks", "tombstones")]
    forget(database, "chains", "chain_blocks", "tombstones", "record_segments")
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.close()
    assert [rows(database, table) for table in ("chains", "chain_blocks", "tombstones")] == before
    assert told(entries(tmp_path)) == [(1, "sealed"), (2, "sealed"), (3, "sealed"), (1, "max_age"), (2, "max_age")]


def test_a_number_never_comes_again_though_all_is_deleted_and_the_database_lost(
    tmp_path: Path, database: Engine
) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 15)
    kept.store.close()
    delete(kept, 1, 2)
    kept.close()
    shutil.rmtree(tmp_path / "records")
    forget(database, "chains", "chain_blocks", "tombstones", "record_segments")
    kept = Kept(tmp_path, database)
    kept.append(16, 20)
    assert [segment.number for segment in kept.segments()] == [3]


def test_a_deletion_that_a_crash_kept_out_of_the_chain_is_put_there_at_the_next_start(
    tmp_path: Path, database: Engine
) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 25)
    kept.close()
    delete(kept, 2, chained=False)
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.close()
    assert told(entries(tmp_path))[-1] == (2, "max_age")
    Kept(tmp_path, database).close()
    assert len(tombstones(entries(tmp_path))) == 1


def test_a_file_that_a_start_finds_changed_is_noted(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 15)
    kept.close()
    path, other = kept.path(2), kept.path(1)
    with path.open("ab") as file:
        # A whole record, as after a write that failed and was on the disk all the same.
        file.write(other.read_bytes()[-30:])
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_segments WHERE number = 2"))
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.close()
    found = entries(tmp_path)
    assert told(found) == [(1, "sealed"), (2, "sealed"), (2, "changed")]
    assert found[2].facts.sha256 == hashlib.sha256(path.read_bytes()).digest() != found[1].facts.sha256
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.close()
    assert len(entries(tmp_path)) == 3


def test_a_chain_that_was_cut_while_the_cloud_was_stopped_keeps_the_hole_and_is_told(
    tmp_path: Path, database: Engine
) -> None:
    for first in (1, 11, 21):
        kept = Kept(tmp_path, database)
        kept.append(first, first + 9)
        kept.close()
    path = tmp_path / "proof/gate.chain"
    path.write_bytes(links(tmp_path)[0].pack())
    kept = Kept(tmp_path, database)
    assert "was changed from outside" in kept.problems.lines()[0]
    kept.keeper.work()
    kept.close()
    found = [placed.link for placed in ChainFile(tmp_path / "proof", "gate").links()]
    assert [told(link.entries) for link in found] == [[(1, "sealed")], [(2, "found"), (3, "found")]]
    with pytest.raises(ProofError, match="blocks are missing"):
        found[1].check(found[0].head)


def test_a_chain_that_was_taken_away_is_not_begun_anew(tmp_path: Path, database: Engine) -> None:
    for first in (1, 11):
        kept = Kept(tmp_path, database)
        kept.append(first, first + 9)
        kept.close()
    (tmp_path / "proof/gate.chain").unlink()
    for _ in range(2):
        kept = Kept(tmp_path, database)
        assert "it had 2 blocks and has 0" in kept.problems.lines()[0]
    kept.keeper.work()
    kept.close()
    found = [placed.link for placed in ChainFile(tmp_path / "proof", "gate").links()]
    assert [link.block.number for link in found] == [3]
    with pytest.raises(ProofError, match="blocks are missing"):
        found[0].check(None)


def test_a_chain_that_is_damaged_in_its_middle_goes_on_behind_the_damage(tmp_path: Path, database: Engine) -> None:
    for first in (1, 11, 21):
        kept = Kept(tmp_path, database)
        kept.append(first, first + 9)
        kept.close()
    path = tmp_path / "proof/gate.chain"
    middle = len(links(tmp_path)[0].pack())
    data = bytearray(path.read_bytes())
    data[middle + 300] ^= 255
    path.write_bytes(data)
    forget(database, "chains", "chain_blocks")
    kept = Kept(tmp_path, database)
    assert "byte" in kept.problems.lines()[0]
    kept.append(31, 40)
    kept.keeper.work()
    kept.close()
    damage: list[str] = []
    found = [placed.link for placed in ChainFile(tmp_path / "proof", "gate").links(0, damage)]
    assert [link.block.number for link in found][:3] == [1, 3, 4]
    again = [entry for link in found[2:] for entry in link.entries]
    assert sorted(told(again)) == [(2, "found"), (4, "sealed")]
    assert len(damage) == 1
    assert path.read_bytes().startswith(data)


def test_a_disk_that_refuses_a_block_gets_it_later(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.append(1, 15)
    kept.store.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        assert not kept.keeper.work(close=True)
        assert "no space left" in kept.problems.lines()[0]
        delete(kept, 1)
    assert entries(tmp_path) == []
    assert kept.keeper.work(close=True)
    assert kept.problems.lines() == []
    assert told(entries(tmp_path)) == [(1, "sealed"), (2, "sealed"), (1, "max_age")]


def refuse(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_database_that_refuses_learns_of_blocks_later(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.keeper.work()
    kept.append(1, 15)
    kept.store.close()
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE chains RENAME TO elsewhere"))
    kept.keeper.work(close=True)
    assert len(entries(tmp_path)) == 2
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO chains"))
    kept.keeper.work(close=True)
    assert len(rows(database, "chain_blocks")) == 1
    close_stores(database)


def test_the_key_is_made_once_and_a_lost_one_is_replaced_so_that_it_shows(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1, 10)
    kept.close()
    path = key_path(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    first = SigningKey.load(path).public
    assert links(tmp_path)[0].head.key == first
    path.unlink()
    kept = Kept(tmp_path, database)
    kept.append(11, 20)
    kept.close()
    with pytest.raises(ProofError, match="another key"):
        links(tmp_path)


def test_leaves_say_what_a_far_future_holds(tmp_path: Path, database: Engine) -> None:
    kept = Kept(tmp_path, database)
    kept.append(1_000_000, 1_000_000)
    kept.close()
    (leaf,) = entries(tmp_path)
    assert isinstance(leaf, Leaf)
    assert leaf.facts.first_capture_us == START_US + 999_999 * FRAME_US
