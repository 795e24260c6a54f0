"""A seal covers records as they were sent; each part of it can be checked without the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.errors import ProofError
from icm.proof.keys import SigningKey
from icm.proof.seals import MOST_RECORDS, Seal, SealedPart, make_seal, part_of, record_hash

KEY = SigningKey.new()


def sealed(*sequences: int, key: SigningKey = KEY) -> tuple[Seal, dict[int, bytes]]:
    """A seal over made-up records, and the hash of each."""
    records = {sequence: record_hash(b"header", b"record %d" % sequence) for sequence in sequences}
    return make_seal(camera="gate", epoch=7, records=records, sealed_us=99, key=key), records


def part(first: int, count: int, *sequences: int) -> tuple[SealedPart, dict[int, bytes]]:
    seal, records = sealed(*sequences)
    return part_of(seal, list(records.values()), 3, first, count), records


@st.composite
def parts(draw: st.DrawFn) -> tuple[SealedPart, dict[int, bytes]]:
    sequences = sorted(draw(st.sets(st.integers(1, 2**32 - 1), min_size=1, max_size=70)))
    first = draw(st.integers(0, len(sequences) - 1))
    return part(first, draw(st.integers(1, len(sequences) - first)), *sequences)


@given(parts())
def test_a_part_holds_by_its_own_records_alone_and_is_read_back(case: tuple[SealedPart, dict[int, bytes]]) -> None:
    of, records = case
    of.check({sequence: records[sequence] for sequence in of.sequences})
    assert SealedPart.of(of.line()) == of


@given(parts(), st.data())
def test_a_part_whose_bytes_change_holds_no_more(
    case: tuple[SealedPart, dict[int, bytes]], data: st.DataObject
) -> None:
    of, records = case
    line = bytearray(of.line())
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = SealedPart.of(bytes(line))
    except ProofError:
        return
    # The segment is where the cloud says that they lie; all else is sealed.
    if replace(other, segment=of.segment) != of:
        with pytest.raises(ProofError):
            other.check(records)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda records: records | {12: record_hash(b"header", b"another")}, "over other bytes"),
        (lambda records: {**records, 12: records[13], 13: records[12]}, "over other bytes"),
        (lambda records: {n: of for n, of in records.items() if n != 12}, "over record 12, which is not in segment 3"),
    ],
)
def test_other_records_are_not_what_was_sealed(
    change: Callable[[dict[int, bytes]], dict[int, bytes]], said: str
) -> None:
    of, records = part(1, 3, *range(11, 18))
    with pytest.raises(ProofError, match=said):
        of.check(change(records))


def test_a_seal_names_its_key_and_camera() -> None:
    of, records = part(0, 2, 1, 2)
    for wrong in (
        replace(of.seal, camera="yard"),
        replace(of.seal, epoch=8),
        replace(of.seal, sealed_us=100),
        replace(of.seal, key=SigningKey.new().public),
        replace(of.seal, signature=bytes(64)),
    ):
        with pytest.raises(ProofError, match="signature"):
            replace(of, seal=wrong).check(records)


def test_a_line_cannot_ask_for_more_records_than_a_seal_has() -> None:
    of, _ = part(0, 2, 1, 2)
    for ranges in ("1-4294967295", f"1-{MOST_RECORDS + 1}", "2-1", "1-2,2-3", "5-6,1-2"):
        with pytest.raises(ProofError, match="no sealed part"):
            SealedPart.of(of.line().replace(b" 1-2 ", b" %s " % ranges.encode()))
    whole, _ = part(0, MOST_RECORDS, *range(1, MOST_RECORDS + 1))
    assert SealedPart.of(whole.line()) == whole
