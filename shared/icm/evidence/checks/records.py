"""Decodes the records of an evidence file and checks that every one gives the latents that its digest names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm.codec.bitstream.record import Record, StreamHeader, parse_stream
from icm.codec.bitstream.salvage import whole_records
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.latents.latents import Latents
from icm.errors import EvidenceError, RecordError
from icm.evidence.case import CameraCase, SegmentEntry
from icm.evidence.checks.findings import Findings
from icm.evidence.times import microseconds_of, time_text
from icm.evidence.zip_reading import CaseFile

MOST_RECORD_BYTES = 128 << 20
"""Of one segment, or one keyframe: twice what a cloud's are."""


@dataclass(frozen=True)
class DecodedFrame:
    """A record that was decoded.

    Attributes:
        segment: number of the one that it is in.
        record: the record.
        width: of its picture.
        height: of its picture.
    """

    segment: int
    record: Record
    width: int
    height: int
    _latents: Latents
    _decoder: Decoder

    def picture(self) -> NDArray[np.uint8]:
        """Its picture, uint8[height, width, 3] RGB. Ask for it before the next frame is decoded, and once."""
        return self._decoder.picture(self._latents)

    def looks_like(self, other: DecodedFrame) -> bool:
        """Whether both have the same picture."""
        same_size = (self.width, self.height) == (other.width, other.height)
        return same_size and self._latents.looks_like(other._latents)


class RecordCheck:
    """Decodes one camera's records, in their order.

    Attributes:
        records: that were decoded and gave what their digest names.
        first_us: capture time of the earliest of them, microseconds since 1970.
        last_us: capture time of the latest of them.
    """

    def __init__(self, case: CaseFile, camera: CameraCase, bundles: Sequence[Bundle], findings: Findings) -> None:
        self._case, self._camera, self._bundles, self._findings = case, camera, bundles, findings
        self._streams: dict[tuple[bytes, int, int, int], Decoder] = {}
        self._unreadable: set[bytes] = set()
        self.records = 0
        self.first_us = self.last_us = 0

    def frames(self) -> Iterator[DecodedFrame]:
        """Every frame that can be decoded. What is wrong with the others goes to the findings."""
        for segment in self._camera.segments:
            yield from self._frames(segment)

    def _frames(self, segment: SegmentEntry) -> Iterator[DecodedFrame]:
        name = segment.path
        try:
            header, records, damage = _parsed(self._case.read(name, MOST_RECORD_BYTES))
        except (EvidenceError, RecordError) as error:
            self._damage(segment, f"{name}: {error}")
            return
        if damage:
            self._damage(segment, f"{name}: {damage}")
        self._check_facts(segment, header, records, bool(damage))
        bundle = next((bundle for bundle in self._bundles if header.codec_id in bundle.decodes), None)
        if bundle is None:
            if header.codec_id not in self._unreadable:
                self._unreadable.add(header.codec_id)
                self._findings.lacks(
                    f"records of camera {self._camera.name} were NOT decoded: they are of codec"
                    f" {header.codec_id.hex()}; name its bundle with --bundle"
                )
            return
        # One epoch's records go on in the next segment; at another size or codec begins another chain.
        stream = header.codec_id, header.epoch, header.width, header.height
        decoder = self._streams.setdefault(stream, Decoder(bundle))
        wrong = 0
        for place, record in enumerate(records):
            try:
                latents = self._latents(segment, header, decoder, record, place == 0)
            except (RecordError, EvidenceError) as error:
                if not wrong:
                    self._damage(segment, f"{name}: {error}")
                wrong += 1
                continue
            self._count(record)
            yield DecodedFrame(segment.number, record, header.width, header.height, latents, decoder)
        if wrong > 1:
            self._damage(segment, f"{name}: {wrong - 1} more of its {len(records)} records cannot be decoded")

    def _latents(
        self, segment: SegmentEntry, header: StreamHeader, decoder: Decoder, record: Record, first: bool
    ) -> Latents:
        """The latents of a record, the first of a segment by its keyframe, if it has one."""
        if not (first and segment.keyframe):
            return decoder.latents(record, header.width, header.height)
        _, keys = parse_stream(self._case.read(segment.keyframe, MOST_RECORD_BYTES))
        key = next(keys)
        same = (key.sequence, key.capture_us, key.digest) == (record.sequence, record.capture_us, record.digest)
        if not same or key.reference:
            raise RecordError(f"{segment.keyframe} is not the first frame of the segment")
        return decoder.latents(key, header.width, header.height)

    def _check_facts(
        self, segment: SegmentEntry, header: StreamHeader, records: Sequence[Record], damaged: bool
    ) -> None:
        """Checks that a file holds what case.json says."""
        name, camera = segment.path, self._camera.name
        if header.camera != camera or str(header.epoch) != segment.epoch:
            self._findings.wrong(
                f"{name} holds records of camera {header.camera}, epoch {header.epoch}, not of {camera},"
                f" {segment.epoch}"
            )
            return
        if damaged or segment.problem:
            return
        captures = [record.capture_us for record in records]
        said = segment.records, microseconds_of(segment.first), microseconds_of(segment.last)
        if (len(records), min(captures), max(captures)) != said:
            self._findings.wrong(
                f"{name} holds {len(records)} records from {time_text(min(captures))} to {time_text(max(captures))},"
                f" and not what case.json says"
            )

    def _damage(self, segment: SegmentEntry, text: str) -> None:
        """What is damaged counts as wrong, unless the export said that it was."""
        if segment.problem:
            self._findings.lacks(f"{text} (the export said so: {segment.problem})")
        else:
            self._findings.wrong(text)

    def _count(self, record: Record) -> None:
        at = record.capture_us
        self.first_us = min(self.first_us, at) if self.records else at
        self.last_us = max(self.last_us, at)
        self.records += 1


def _parsed(data: bytes) -> tuple[StreamHeader, list[Record], str]:
    """A file's header, its whole records, and what is wrong with the rest.

    Raises:
        RecordError: there is not one whole record.
    """
    try:
        header, parsed = parse_stream(data)
        records = list(parsed)
    except RecordError:
        records = []
    if records:
        return header, records, ""
    header, records, damage = whole_records(data)
    return header, records, damage or "it cannot be read whole"
