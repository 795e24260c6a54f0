"""What a full spool does under ``drop_oldest``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_service.spool.store import Spool
from icm.codec.bitstream.record import RECORD_OVERHEAD
from icm.errors import SpoolFullError
from icm.service.clock import ManualClock
from tests.edge_service.parts import spool_records

SIZE = RECORD_OVERHEAD + 5
"""Of a record as ``spool_records`` makes it."""
CAMERAS = ("gate", "yard")


class Drops(Counter[tuple[str, str]]):
    """Records by camera and reason."""

    def note(self, camera: str, reason: str, count: int) -> None:
        self[camera, reason] += count


@pytest.fixture
def drops() -> Drops:
    return Drops()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock, drops: Drops) -> Iterator[Spool]:
    spool = Spool(tmp_path, 4 * SIZE, 3600.0, clock, "drop_oldest", drops.note)
    yield spool
    spool.close()


def waiting(spool: Spool, camera: str = "gate") -> list[int]:
    found: list[int] = []
    while batch := spool.camera(camera).read(found[-1] if found else 0, 100, 1 << 20):
        found += [sequence for sequence, _ in batch.records]
    return found


def test_the_oldest_records_go_and_are_counted(spool: Spool, drops: Drops) -> None:
    spool_records(spool.camera("gate"), 7)
    assert waiting(spool) == [4, 5, 6, 7]
    assert drops == {("gate", "spool_full"): 3}
    assert spool.bytes == 4 * SIZE


def test_the_oldest_of_all_cameras_go_first(spool: Spool, clock: ManualClock, drops: Drops) -> None:
    for camera in ("yard", "gate", "gate", "yard", "gate"):
        clock.advance(1)
        spool_records(spool.camera(camera), 1)
    assert (waiting(spool, "yard"), waiting(spool, "gate")) == ([2], [1, 2, 3])
    assert drops == {("yard", "spool_full"): 1}


def test_a_record_that_waited_too_long_goes_with_the_next_one_that_comes(
    spool: Spool, clock: ManualClock, drops: Drops
) -> None:
    spool_records(spool.camera("gate"), 2)
    clock.advance(3601)
    spool_records(spool.camera("gate"), 1)
    assert waiting(spool) == [3]
    assert drops == {("gate", "spool_aged"): 2}


def test_a_record_larger_than_the_whole_spool_is_refused_and_costs_no_other(spool: Spool, drops: Drops) -> None:
    spool_records(spool.camera("gate"), 2)
    with pytest.raises(SpoolFullError, match="max_bytes"):
        spool_records(spool.camera("gate"), 1, size=4 * SIZE)
    assert waiting(spool) == [1, 2]
    assert not drops
    assert spool.bytes == 2 * SIZE


def test_a_dropped_record_is_not_called_persisted(spool: Spool) -> None:
    gate = spool.camera("gate")
    spool_records(gate, 2)
    gate.persisted(1, 1)
    spool_records(gate, 6)
    assert waiting(spool) == [5, 6, 7, 8]
    assert gate.last_persisted() == 1


@settings(max_examples=30, deadline=None)
@given(cameras=st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(0, 3 * SIZE)), max_size=25))
def test_whatever_comes_every_record_either_waits_or_was_counted(
    tmp_path_factory: pytest.TempPathFactory, cameras: list[tuple[str, int]]
) -> None:
    drops, clock, made = Drops(), ManualClock(), Counter[str]()
    spool = Spool(tmp_path_factory.mktemp("spool"), 4 * SIZE, 3600.0, clock, "drop_oldest", drops.note)
    try:
        for camera, size in cameras:
            clock.advance(1)
            spool_records(spool.camera(camera), 1, size=size)
            made[camera] += 1
            assert spool.bytes <= 4 * SIZE
        for camera in CAMERAS:
            kept = waiting(spool, camera)
            assert kept == list(range(made[camera] - len(kept) + 1, made[camera] + 1))
            assert len(kept) + drops[camera, "spool_full"] == made[camera]
    finally:
        spool.close()
