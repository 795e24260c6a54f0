"""The checker of the delivery's promises must see each of them broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.frame_id import FrameId
from icm_bench.delivery.delivery_checker import DeliveryLog, check, stored, undecodable

Stored = list[tuple[FrameId, int]]


def gate(sequence: int, epoch: int = 7) -> FrameId:
    return FrameId("gate", epoch, sequence)


@pytest.fixture
def ledger() -> DeliveryLog:
    """Of four frames, of which the third got no answer."""
    ledger = DeliveryLog()
    ledger.given["gate"] = {100, 200, 300, 400}
    for sequence, capture_us in ((1, 100), (2, 200), (4, 400)):
        ledger.acknowledge(gate(sequence), capture_us)
    return ledger


ALL: Stored = [(gate(1), 100), (gate(2), 200), (gate(3), 300), (gate(4), 400)]


@pytest.mark.parametrize("records", [ALL, [ALL[0], ALL[1], ALL[3]]])
def test_what_got_no_answer_may_or_may_not_be_there(ledger: DeliveryLog, records: Stored) -> None:
    verdict = check(ledger, records)
    assert verdict.kept
    assert (verdict.given, verdict.acknowledged, verdict.stored) == (4, 3, len(records))


@pytest.mark.parametrize(
    ("broken", "records"),
    [
        ("lost", [ALL[0], ALL[2], ALL[3]]),
        ("lost", [ALL[0], (gate(2), 300), ALL[3]]),
        ("duplicates", [*ALL, ALL[3]]),
        ("duplicates", [*ALL, (gate(5), 400)]),
        ("unknown", [*ALL, (gate(5), 500)]),
        ("disordered", [ALL[0], ALL[2], ALL[1], ALL[3]]),
        ("disordered", [ALL[0], ALL[1], ALL[2], (gate(1, epoch=6), 350), ALL[3]]),
    ],
)
def test_every_promise_that_is_broken_is_seen(ledger: DeliveryLog, broken: str, records: Stored) -> None:
    verdict = check(ledger, records)
    assert not verdict.kept
    assert getattr(verdict, broken) == 1


def test_a_name_that_is_given_to_two_frames_is_seen(ledger: DeliveryLog) -> None:
    ledger.acknowledge(gate(4), 400)
    assert check(ledger, ALL).duplicates == 1


def test_records_are_read_in_the_order_of_the_segments_numbers(tmp_path: Path) -> None:
    header = StreamHeader(bytes(32), "gate", 7, 0, 64, 48)
    for hour, number, sequence in (("10", 2, 5), ("11", 1, 3)):
        folder = tmp_path / "gate" / "2026-01-01" / hour
        folder.mkdir(parents=True)
        packed = Record(sequence, 100 * sequence, Kind.I, 0, 48, 0, b"").pack(header)
        (folder / f"20260101T{hour}0000000000Z-{number:06d}.icm").write_bytes(header.pack() + packed)
    assert stored(tmp_path) == [(gate(3), 300), (gate(5), 500)]


def test_a_record_that_does_not_follow_the_one_it_leans_on_is_seen(tmp_path: Path) -> None:
    header = StreamHeader(bytes(32), "gate", 7, 0, 64, 48)
    chain = [(1, Kind.I), (2, Kind.P), (4, Kind.P), (5, Kind.P), (7, Kind.I), (8, Kind.P)]
    packed = [Record(n, 100 * n, kind, int(kind is Kind.P), 48, 0, b"").pack(header) for n, kind in chain]
    folder = tmp_path / "gate" / "2026-01-01" / "10"
    folder.mkdir(parents=True)
    (folder / "20260101T100000000000Z-000001.icm").write_bytes(header.pack() + b"".join(packed[:4]))
    (folder / "20260101T100001000000Z-000002.icm").write_bytes(header.pack() + b"".join(packed[4:]))
    assert undecodable(tmp_path) == 1
