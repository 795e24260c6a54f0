"""The record format: what is packed is parsed, and any other bytes give one typed error."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.codec.bitstream.record import (
    MAX_DELTA_US,
    MAX_PAYLOAD,
    MAX_SEQUENCE,
    RECORD_OVERHEAD,
    Kind,
    Record,
    StreamHeader,
    is_intra,
    parse_stream,
)
from icm.errors import RecordError

HEADER = StreamHeader(bytes(range(32)), "gate-1", 7, 1_700_000_000_000_000, 640, 384)

headers = st.builds(
    StreamHeader,
    codec_id=st.binary(min_size=32, max_size=32),
    camera=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True),
    epoch=st.integers(0, 2**64 - 1),
    base_us=st.integers(0, 2**63),
    width=st.integers(1, 2048),
    height=st.integers(1, 2048),
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from(Kind))
    return Record(
        sequence=draw(st.integers(1, MAX_SEQUENCE)),
        capture_us=HEADER.base_us + draw(st.integers(0, MAX_DELTA_US)),
        kind=kind,
        reference=draw(st.integers(1, 63)) if kind is Kind.P else 0,
        quality=draw(st.integers(0, 255)),
        digest=draw(st.integers(0, 2**32 - 1)),
        payload=draw(st.binary(max_size=300)),
        motion=kind is Kind.P and draw(st.booleans()),
    )


@given(headers)
def test_a_packed_header_parses_to_itself(header: StreamHeader) -> None:
    packed = header.pack()
    assert StreamHeader.parse(packed + b"rest") == (header, len(packed))


@given(records())
def test_a_packed_record_parses_to_itself(record: Record) -> None:
    packed = record.pack(HEADER)
    assert Record.parse_whole(packed, HEADER) == record


@given(records())
def test_a_record_adds_no_more_than_24_bytes_to_its_payload(record: Record) -> None:
    assert len(record.pack(HEADER)) - len(record.payload) == RECORD_OVERHEAD <= 24


@given(st.lists(records(), max_size=5))
def test_a_stream_gives_its_records_in_order(listed: list[Record]) -> None:
    header, found = parse_stream(HEADER.pack() + b"".join(r.pack(HEADER) for r in listed))
    assert header == HEADER
    assert list(found) == listed


@given(st.binary(max_size=400))
def test_any_bytes_as_a_stream_give_records_or_a_record_error(data: bytes) -> None:
    with contextlib.suppress(RecordError):
        _, found = parse_stream(data)
        list(found)


@given(st.binary(max_size=400))
def test_any_bytes_after_a_good_header_give_records_or_a_record_error(data: bytes) -> None:
    _, found = parse_stream(HEADER.pack() + data)
    with contextlib.suppress(RecordError):
        list(found)


@given(records(), st.data())
def test_every_flipped_bit_of_a_record_is_noticed(record: Record, data: st.DataObject) -> None:
    packed = bytearray(record.pack(HEADER))
    position = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[position // 8] ^= 1 << position % 8
    with pytest.raises(RecordError):
        Record.parse_whole(bytes(packed), HEADER)


@given(records(), st.data())
def test_a_record_cut_short_is_named_so(record: Record, data: st.DataObject) -> None:
    packed = record.pack(HEADER)
    with pytest.raises(RecordError, match=r"cut off|at least"):
        Record.parse(packed[: data.draw(st.integers(0, len(packed) - 1))], HEADER)


def test_bytes_after_a_single_record_are_refused() -> None:
    packed = Record(1, HEADER.base_us, Kind.I, 0, 0, 0, b"").pack(HEADER)
    with pytest.raises(RecordError, match="2 bytes follow"):
        Record.parse_whole(packed + b"xx", HEADER)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"sequence": MAX_SEQUENCE + 1},
        {"capture_us": HEADER.base_us - 1},
        {"capture_us": HEADER.base_us + MAX_DELTA_US + 1},
        {"reference": 1},
        {"kind": Kind.P},
        {"quality": 256},
        {"payload": bytes(MAX_PAYLOAD + 1)},
    ],
)
def test_a_field_that_does_not_fit_is_refused_before_packing(change: dict[str, object]) -> None:
    record = replace(Record(1, HEADER.base_us, Kind.I, 0, 0, 0, b""), **change)  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="must lie between"):
        record.pack(HEADER)


def test_only_p_records_have_motion() -> None:
    with pytest.raises(RecordError, match="only a P record has motion"):
        Record(1, HEADER.base_us, Kind.I, 0, 0, 0, b"", motion=True).pack(HEADER)


def test_a_record_of_motion_leans_on_another() -> None:
    record = Record(2, HEADER.base_us, Kind.P, 1, 0, 0, b"", motion=True)
    assert not is_intra(record.pack(HEADER))
    assert is_intra(replace(record, kind=Kind.I, reference=0, motion=False).pack(HEADER))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec_id": b"short"}, "32 bytes"),
        ({"camera": "../etc"}, "camera name"),
        ({"width": 0}, "cannot be coded"),
        ({"width": 16_000, "height": 16_000}, "cannot be coded"),
        ({"epoch": -1}, "64 bits"),
    ],
)
def test_an_impossible_header_cannot_be_made(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        replace(HEADER, **change)  # type: ignore[arg-type]


def test_a_header_of_another_version_says_which() -> None:
    packed = bytearray(HEADER.pack())
    packed[4] = 9
    with pytest.raises(RecordError, match="format version 9"):
        StreamHeader.parse(bytes(packed))


def test_a_header_holds_frames_of_its_size_and_after_its_base() -> None:
    assert HEADER.holds(HEADER.base_us, 640, 384)
    assert not HEADER.holds(HEADER.base_us - 1, 640, 384)
    assert not HEADER.holds(HEADER.base_us + MAX_DELTA_US + 1, 640, 384)
    assert not HEADER.holds(HEADER.base_us, 640, 385)
