"""Group commit: what many streams append goes to the disk together, and each is told what became of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.metrics import Metrics
from cloud_service.store import GroupCommit, RawRecord
from icm.codec.bitstream.record import StreamHeader
from icm.errors import StorageError
from tests.cloud_service.parts import header, open_store, raw, record


async def test_a_group_of_streams_is_committed_together_and_each_told_its_own(tmp_path: Path, database: Engine) -> None:
    store, metrics = open_store(tmp_path, database), Metrics("test")
    commit = GroupCommit(store, 0.0, metrics.stage_seconds.labels("persist"), lambda: None)
    gate, yard = header("gate"), header("yard")
    store.append(gate, raw([record(1)], gate))
    waiting = [
        commit.append(of, raw([record(n) for n in numbers], of))
        for of, numbers in ((gate, (1, 2)), (yard, (1,)), (gate, (2, 3)))
    ]
    commit.start()
    assert await asyncio.gather(*waiting) == [[False, True], [True], [False, True]]
    await asyncio.to_thread(commit.stop)


async def test_a_failure_that_nobody_foresaw_is_told_to_its_stream_and_the_others_are_committed_on(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, metrics = open_store(tmp_path, database), Metrics("test")
    append = store.append

    def broken_for_the_gate(of: StreamHeader, records: Sequence[RawRecord]) -> list[bool]:
        if of.camera == "gate":
            raise RuntimeError("unforeseen")
        return append(of, records)

    monkeypatch.setattr(store, "append", broken_for_the_gate)
    commit = GroupCommit(store, 0.0, metrics.stage_seconds.labels("persist"), lambda: None)
    commit.start()
    gate, yard = header("gate"), header("yard")
    with pytest.raises(StorageError, match="unforeseen"):
        await commit.append(gate, raw([record(1)], gate))
    assert await commit.append(yard, raw([record(1)], yard)) == [True]
    await asyncio.to_thread(commit.stop)
