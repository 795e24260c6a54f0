"""Seals go with the last segment of their day, and stay where one is gone without a word in the chain."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cloud_service.seals.files import append_parts, prune, seal_file
from icm.proof.keys import SigningKey
from icm.proof.seals import SealedPart, make_seal, part_of, record_hash
from tests.cloud_service.parts import EPOCH, header, record

SEGMENTS = {
    1: "gate/2026-09-21/14/a-000001.icm",
    2: "gate/2026-09-21/15/b-000002.icm",
    3: "gate/2026-09-22/00/c-000003.icm",
}


def part(number: int) -> SealedPart:
    """The seal over a segment of one record."""
    of = header()
    hashes = {number: record_hash(of.pack(), record(number).pack(of))}
    seal = make_seal(camera="gate", epoch=EPOCH, records=hashes, sealed_us=1, key=SigningKey.new())
    return part_of(seal, list(hashes.values()), number, 0, 1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Seals of three segments on two days, and these."""
    seals, records = tmp_path / "seals", tmp_path / "records"
    for number, path in SEGMENTS.items():
        append_parts(seal_file(seals, path), [part(number)])
        (records / path).parent.mkdir(parents=True)
        (records / path).write_bytes(b"records")
    return seals, records


def names(seals: Path) -> list[str]:
    return sorted(path.name for path in seals.rglob("*.seals"))


def test_seals_of_a_day_go_once_all_of_its_segments_were_deleted(folders: tuple[Path, Path]) -> None:
    seals, records = folders
    deleted = {1}
    (records / SEGMENTS[1]).unlink()
    assert prune(seals, records, lambda _, number: number in deleted) == 0
    deleted.add(2)
    (records / SEGMENTS[2]).unlink()
    (records / SEGMENTS[2]).with_suffix(".key").write_bytes(b"a still stays")
    assert prune(seals, records, lambda _, number: number in deleted) == 1
    assert names(seals) == ["2026-09-22.seals"]


def test_seals_of_segments_that_are_gone_without_a_tombstone_stay(folders: tuple[Path, Path]) -> None:
    seals, records = folders
    shutil.rmtree(records)
    assert prune(seals, records, lambda _, number: number == 1) == 0
    assert names(seals) == ["2026-09-21.seals", "2026-09-22.seals"]
