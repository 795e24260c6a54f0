"""What the store says it holds is on the disk: tests watch what the disk is asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from sqlalchemy import Engine

from icm.errors import StorageError
from tests.cloud_service.parts import EPOCH, header, open_store, raw, record


def test_a_record_is_held_only_once_the_disk_was_waited_for(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, of = open_store(tmp_path, database), header()
    synced: list[tuple[int, bool]] = []
    wait = os.fdatasync

    def watched(descriptor: int) -> None:
        before = store.holds("gate", EPOCH, len(synced) + 1)
        wait(descriptor)
        synced.append((os.fstat(descriptor).st_size, before))

    monkeypatch.setattr(os, "fdatasync", watched)
    sizes = []
    for sequence in (1, 2, 3):
        store.append(of, raw([record(sequence)], of))
        assert store.holds("gate", EPOCH, sequence)
        sizes.append(next(tmp_path.rglob("*.icm")).stat().st_size)
    assert synced == [(size, False) for size in sizes]


def test_the_names_that_lead_to_a_new_segment_are_waited_for_too(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, of = open_store(tmp_path, database), header()
    synced: set[Path] = set()
    wait = os.fsync

    def watched(descriptor: int) -> None:
        wait(descriptor)
        synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", watched)
    store.append(of, raw([record(1)], of))
    segment = next(tmp_path.rglob("*.icm"))
    assert synced == {folder for folder in segment.parents if folder.is_relative_to(tmp_path)}


def test_records_that_the_disk_failed_to_take_are_not_held_and_can_be_appended_again(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, of = open_store(tmp_path, database), header()
    store.append(of, raw([record(1)], of))

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", failing)
        with pytest.raises(StorageError, match="Input/output error"):
            store.append(of, raw([record(2)], of))
    assert [store.holds("gate", EPOCH, sequence) for sequence in (1, 2)] == [True, False]
    assert store.append(of, raw([record(1), record(2)], of)) == [False, True]
    again = open_store(tmp_path, database)
    assert [again.holds("gate", EPOCH, sequence) for sequence in (1, 2)] == [True, True]
    assert again.cameras()[0].records == 2
