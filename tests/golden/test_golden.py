"""What was coded once decodes to the same latents for ever, and no damaged bit of it passes for right."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from icm.codec.bitstream.record import VERSION, Kind, Record, StreamHeader, parse_stream
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.manifest import read_manifest
from icm.codec.bundle.shipped import SHIPPED_BUNDLES
from icm.codec.decoder import Decoder
from icm.codec.encoder import recode_intra
from icm.codec.latents.latents import Latents
from icm.errors import RecordError
from tests.golden.streams import EXPECTED, GOLDEN, fingerprint, folder_of

FOLDERS = sorted(path.parent for path in GOLDEN.glob(f"*/{EXPECTED}"))
STREAMS = sorted(path for folder in FOLDERS for path in folder.glob("*.icm"))
SMALL = [folder / "small.icm" for folder in FOLDERS]
"""An I record and a P record of 130x18 pixels each."""
small = pytest.mark.parametrize("stream", SMALL, ids=lambda path: path.parent.name)

_load = cache(Bundle.load)


def bundle_of(stream: Path, threads: int = 1) -> Bundle:
    """The bundle that a golden stream was made with."""
    return _load(folder_of(stream.parent), threads)


def read(stream: Path) -> tuple[StreamHeader, list[Record]]:
    header, records = parse_stream(stream.read_bytes())
    return header, list(records)


def decoded(bundle: Bundle, header: StreamHeader, records: list[Record]) -> list[Latents]:
    decoder = Decoder(bundle)
    return [decoder.latents(record, header.width, header.height) for record in records]


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits flipped in turn."""
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


@pytest.mark.parametrize("bundle", SHIPPED_BUNDLES, ids=lambda folder: folder.name)
def test_every_bundle_that_ships_has_golden_records(bundle: Path) -> None:
    made = [json.loads((folder / EXPECTED).read_text())["codec_id"] for folder in FOLDERS]
    assert read_manifest(bundle).codec_id in made, f"make them: python -m tests.golden.streams {bundle.name}"


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_records_decode_to_the_latents_they_were_made_from(stream: Path, threads: int) -> None:
    expected = json.loads((stream.parent / EXPECTED).read_text())
    header, records = read(stream)
    bundle = bundle_of(stream, threads)
    assert header.codec_id.hex() == expected["codec_id"]
    assert header.codec_id in bundle.decodes
    found = [fingerprint(latents) for latents in decoded(bundle, header, records)]
    assert found == expected["latents"][stream.stem]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_latents_of_golden_i_records_are_coded_to_the_same_bytes_again(stream: Path) -> None:
    bundle = bundle_of(stream)
    header, records = read(stream)
    for record, latents in zip(records, decoded(bundle, header, records), strict=True):
        if record.kind is Kind.I:
            assert bundle.entropy.encode(latents) == record.payload


@small
def test_every_flipped_bit_of_a_record_is_detected_and_the_record_named(stream: Path) -> None:
    header, records = read(stream)
    assert [record.kind for record in records] == [Kind.I, Kind.P]
    for record in records:
        for damaged in flips(record.pack(header)):
            with pytest.raises(RecordError, match=r"record \d+ (is damaged|is cut off)|bytes follow record \d+"):
                Record.parse_whole(damaged, header)


@small
def test_every_flipped_bit_of_a_stream_header_is_detected(stream: Path) -> None:
    header, _ = read(stream)
    for damaged in flips(header.pack()):
        with pytest.raises(RecordError):
            StreamHeader.parse(damaged)


@small
def test_a_flipped_bit_of_a_payload_is_detected_even_where_the_checksum_was_made_after_it(stream: Path) -> None:
    header, (first, second) = read(stream)
    bundle = bundle_of(stream)
    reference = Decoder(bundle).latents(first, header.width, header.height)
    for damaged in flips(first.payload):
        with pytest.raises(RecordError):
            Decoder(bundle).latents(replace(first, payload=damaged), header.width, header.height)
    for damaged in flips(second.payload):
        decoder = Decoder(bundle)
        decoder.resume(first.sequence, reference)
        with pytest.raises(RecordError):
            decoder.latents(replace(second, payload=damaged), header.width, header.height)


@small
def test_a_changed_quality_is_detected_from_version_3_on(stream: Path) -> None:
    """Of records of today; those that were made before keep their digests."""
    header, (first, _) = read(stream)
    bundle = bundle_of(stream)
    frame = recode_intra(bundle, Decoder(bundle).latents(first, header.width, header.height))
    today = frame.record(first.sequence, first.capture_us)
    assert today.version == VERSION >= first.version == header.version
    assert Decoder(bundle).latents(today, header.width, header.height).quality == first.quality
    for quality in range(256):
        if quality != today.quality:
            with pytest.raises(RecordError):
                Decoder(bundle).latents(replace(today, quality=quality), header.width, header.height)


@small
def test_a_flipped_bit_of_a_digest_is_detected(stream: Path) -> None:
    header, (first, _) = read(stream)
    decoder = Decoder(bundle_of(stream))
    for bit in range(32):
        damaged = replace(first, digest=first.digest ^ 1 << bit)
        with pytest.raises(RecordError, match=f"record {first.sequence} decodes to latents with digest"):
            decoder.latents(damaged, header.width, header.height)
