"""An edge seals what was persisted, once, however often it was sent and the stream broke."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_service.proof.sealing import KEY_NAME, SEAL_SECONDS, Sealer, seal_key
from icm.errors import SpoolError
from icm.proof.keys import SigningKey, signed_by
from icm.proof.merkle import root_of
from icm.proof.seals import MOST_RECORDS, Seal, record_hash
from icm.service.clock import ManualClock
from icm.v1 import ingest_pb2

KEY = SigningKey.new()
HEADER = b"header"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sealer(clock: ManualClock) -> Sealer:
    sealer = Sealer("gate", KEY, clock)
    sealer.begin(7)
    return sealer


def packed(sequence: int) -> bytes:
    return b"record %d" % sequence


def send(sealer: Sealer, *sequences: int) -> None:
    for sequence in sequences:
        sealer.sent(HEADER, sequence, packed(sequence))


def holds(seal: ingest_pb2.Seal, *sequences: int) -> bool:
    """Whether a seal is over exactly these records."""
    root = root_of([record_hash(HEADER, packed(sequence)) for sequence in sequences])
    told = Seal("gate", 7, sequences, seal.sealed_us, root, KEY.public)
    return signed_by(KEY.public, told.text(), seal.signature)


def test_what_was_persisted_is_sealed_when_it_is_due(sealer: Sealer, clock: ManualClock) -> None:
    send(sealer, 1, 2, 3)
    assert sealer.due_seconds() is None
    sealer.settled(1, 2, True)
    assert sealer.due_seconds() == SEAL_SECONDS
    clock.advance(SEAL_SECONDS - 1)
    sealer.settled(3, 3, True)
    assert sealer.due_seconds() == 1
    clock.advance(1)
    assert sealer.due_seconds() == 0
    seal = sealer.take(3)
    assert (seal.first_sequence, list(seal.lengths), seal.sealed_us) == (1, [3], clock.now_us())
    assert holds(seal, 1, 2, 3)
    assert sealer.due_seconds() is None


def test_gaps_of_thinned_and_rejected_records_are_left_out(sealer: Sealer) -> None:
    send(sealer, 4, 5, 6, 9, 11, 12)
    sealer.settled(4, 5, True)
    sealer.settled(6, 6, False)
    sealer.settled(9, 12, True)
    seal = sealer.take(12)
    assert (seal.first_sequence, list(seal.lengths)) == (4, [2, 3, 1, 1, 2])
    assert holds(seal, 4, 5, 9, 11, 12)


def test_many_records_make_several_seals_at_once(sealer: Sealer) -> None:
    numbers = range(1, MOST_RECORDS + 11)
    send(sealer, *numbers)
    sealer.settled(1, numbers[-1], True)
    assert sealer.due_seconds() == 0
    assert holds(sealer.take(numbers[-1]), *numbers[:MOST_RECORDS])
    assert sealer.due_seconds() == SEAL_SECONDS
    assert holds(sealer.take(numbers[-1]), *numbers[MOST_RECORDS:])


def test_an_acknowledgement_that_was_lost_is_made_up_for_by_the_welcome(sealer: Sealer) -> None:
    send(sealer, 1, 2)
    sealer.begin(7)
    sealer.settled(1, 1, True)
    send(sealer, 2)
    sealer.settled(2, 2, True)
    assert holds(sealer.take(2), 1, 2)


def test_a_seal_that_may_not_have_arrived_is_made_again(sealer: Sealer) -> None:
    send(sealer, 1, 2)
    sealer.settled(1, 2, True)
    sealer.take(2)
    sealer.begin(7)
    assert holds(sealer.take(2), 1, 2)
    send(sealer, 3)
    sealer.settled(3, 3, True)
    sealer.begin(7)
    assert holds(sealer.take(3), 3)


def test_records_of_another_epoch_are_not_mixed(sealer: Sealer) -> None:
    send(sealer, 1)
    sealer.settled(1, 1, True)
    sealer.begin(8)
    assert sealer.due_seconds() is None


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    made = seal_key(tmp_path)
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert seal_key(tmp_path).public == made.public
    (tmp_path / KEY_NAME).write_text("no key")
    with pytest.raises(SpoolError, match=r"seal\.key is no Ed25519 key"):
        seal_key(tmp_path)


def test_a_seal_takes_less_than_half_a_percent_of_25_kbit_per_second(sealer: Sealer) -> None:
    send(sealer, *range(1_000_000, 1_000_100))
    sealer.settled(1, 2_000_000, True)
    message = ingest_pb2.StreamRecordsRequest(batch=ingest_pb2.RecordBatch(seal=sealer.take(1_000_100)))
    # As a message of its own, in the frames of gRPC and HTTP/2, which a seal that rides with records shares.
    framing = 5 + 9
    assert 8 * (message.ByteSize() + framing) / SEAL_SECONDS <= 0.005 * 25_000
