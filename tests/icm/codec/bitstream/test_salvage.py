from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.bitstream import record as record_module
from icm.codec.bitstream import salvage
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.codec.bitstream.salvage import whole_records
from icm.errors import RecordError

HEADER = StreamHeader(bytes(32), "file", 1, 0, 64, 48)
RECORDS = [
    Record(n, 1000 * n, Kind.P if n % 4 else Kind.I, int(n % 4 > 0), 48, n, np.random.default_rng(n).bytes(20 + 7 * n))
    for n in range(1, 13)
]
PACKED = [record.pack(HEADER) for record in RECORDS]
WHOLE = HEADER.pack() + b"".join(PACKED)
STARTS = [len(HEADER.pack()) + sum(map(len, PACKED[:n])) for n in range(len(PACKED) + 1)]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of which a checksum was computed, or that were looked through for the beginning of a record."""
    sizes: list[int] = []
    checksum, further, numbers = record_module.google_crc32c.value, record_module.google_crc32c.extend, np.frombuffer

    def counted_checksum(data: bytes) -> int:
        sizes.append(len(data))
        return int(checksum(data))

    def counted_numbers(data: memoryview, dtype: type[np.uint8]) -> object:
        sizes.append(len(data))
        return numbers(data, dtype)

    def counted_more(before: int, data: bytes) -> int:
        sizes.append(len(data))
        return int(further(before, data))

    monkeypatch.setattr(record_module.google_crc32c, "value", counted_checksum)
    monkeypatch.setattr(record_module.google_crc32c, "extend", counted_more)
    monkeypatch.setattr(salvage.np, "frombuffer", counted_numbers)
    return sizes


def test_a_file_that_is_whole_says_nothing() -> None:
    assert whole_records(WHOLE) == (HEADER, RECORDS, None)


@pytest.mark.parametrize("kept", [len(WHOLE), STARTS[5] + 3])
def test_what_stands_behind_the_header_of_another_stream_is_none_of_the_first(kept: int) -> None:
    whole = max(n for n, start in enumerate(STARTS) if start <= kept)
    header, records, problem = whole_records(WHOLE[:kept] + WHOLE)
    assert (header, records) == (HEADER, RECORDS[:whole])
    assert problem is not None
    assert problem.endswith(f"another stream begins at byte {kept}: cut the file in two there")


@given(st.integers(STARTS[1], len(WHOLE) - 1))
def test_a_cut_costs_only_what_it_cut_off(length: int) -> None:
    whole = max(n for n, start in enumerate(STARTS) if start <= length)
    header, records, problem = whole_records(WHOLE[:length])
    assert (header, records) == (HEADER, RECORDS[:whole])
    assert (problem is None) == (length in STARTS)
    assert problem is None or f"; {whole} whole records are left" in problem


@given(st.lists(st.integers(STARTS[0], len(WHOLE) - 1), min_size=1, max_size=5), st.integers(1, 255))
def test_damage_costs_only_the_records_that_it_hit(places: list[int], flip: int) -> None:
    damaged = bytearray(WHOLE)
    for place in set(places):
        damaged[place] ^= flip
    hit = {max(n for n, start in enumerate(STARTS) if start <= place) for place in places}
    _, records, problem = whole_records(bytes(damaged))
    assert records == [record for n, record in enumerate(RECORDS) if n not in hit]
    assert problem is not None


@given(st.integers(1, 11), st.binary(min_size=1, max_size=300))
def test_what_was_put_in_between_costs_nothing(place: int, extra: bytes) -> None:
    start = STARTS[place]
    _, records, problem = whole_records(WHOLE[:start] + extra + WHOLE[start:])
    assert records == RECORDS
    assert problem is not None


def test_a_record_that_comes_twice_is_taken_once() -> None:
    _, records, problem = whole_records(WHOLE + PACKED[-1] + PACKED[2])
    assert records == RECORDS
    assert "record 12 comes after 12" in (problem or "")


@pytest.mark.parametrize("data", [HEADER.pack(), HEADER.pack() + PACKED[0][:-1], b"", b"nothing of the kind" * 9])
def test_without_a_whole_record_there_is_an_error(data: bytes) -> None:
    with pytest.raises(RecordError):
        whole_records(data)


def alternating(count: int) -> bytes:
    """Small whole records, each followed by a damaged one, on their way through all of a long file."""
    pairs = []
    for n in range(1, 2 * count, 2):
        lost = bytearray(Record(n + 1, 1, Kind.I, 0, 48, 1, b"lost").pack(HEADER))
        lost[-1] ^= 1
        pairs.append(Record(n, 1, Kind.I, 0, 48, 1, b"").pack(HEADER) + lost)
    return HEADER.pack() + b"".join(pairs) + bytes(1 << 20)


def test_any_number_of_damaged_places_cost_what_they_hit_and_no_looking_through_the_rest_for_each(
    looked_at: list[int],
) -> None:
    data = alternating(3000)
    _, records, problem = whole_records(data)
    assert [record.sequence for record in records] == list(range(1, 6000, 2))
    assert "and 2999 more such places; 3000 whole records are left" in (problem or "")
    assert sum(looked_at) < 50 * len(data)


def claims(sequence: int, length: int) -> bytes:
    """The start of what says that it is a record of this length."""
    return sequence.to_bytes(4, "little") + bytes(6) + b"\x30\x00" + length.to_bytes(3, "little") + bytes(4)


@pytest.mark.parametrize("whole_between", [False, True], ids=["in a row", "each after a whole record"])
def test_what_only_claims_to_be_records_is_not_gone_over_again_for_each(
    looked_at: list[int], whole_between: bool
) -> None:
    """Each claims nearly all that follows it, so that all together are hundreds of times the file."""
    parts, left, wholes = [], 4_000_000, 1
    while left > 0:
        if whole_between:
            wholes += 1
            parts.append(Record(wholes, 1, Kind.I, 0, 48, 1, b"").pack(HEADER))
        parts.append(claims(wholes + 1, max(0, left - 100)) + bytes(3981))
        left -= sum(map(len, parts[-2:])) if whole_between else len(parts[-1])
    data = HEADER.pack() + PACKED[0] + b"".join(parts)
    _, records, _ = whole_records(data)
    assert [record.sequence for record in records] == list(range(1, wholes + 1))
    assert sum(looked_at) < 50 * len(data)


def test_noise_in_which_records_lie_far_apart_hides_none() -> None:
    """As of a disk that lost most of its blocks."""
    noise = np.random.default_rng(7)
    data = HEADER.pack() + PACKED[0] + b"".join(noise.bytes(1 << 20) + packed for packed in PACKED[1:])
    _, records, problem = whole_records(data)
    assert records == RECORDS
    assert "; 12 whole records are left" in (problem or "")
