"""Checks that records are those that a camera's edge sealed: then not even the archive's owner can have made them."""

from __future__ import annotations

from collections import defaultdict

from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import EvidenceError, ProofError, RecordError
from icm.evidence.case import CameraCase, SegmentEntry
from icm.evidence.checks.findings import Findings
from icm.evidence.checks.records import MOST_RECORD_BYTES
from icm.evidence.layout import MOST_CASE_BYTES, seals_path
from icm.evidence.zip_reading import CaseFile
from icm.proof.seals import SealedPart, record_hash


def check_seals(case: CaseFile, camera: CameraCase, findings: Findings) -> None:
    """Checks the seals of a camera's edge over the records that are here."""
    path = seals_path(camera.name)
    if not camera.segments:
        return
    if path not in case.entries:
        findings.note(
            f"records of camera {camera.name} are not sealed by the edge that sent them: that it did rests on the"
            " archive's word"
        )
        return
    parts: dict[int, list[SealedPart]] = defaultdict(list)
    try:
        for line in case.read(path, MOST_CASE_BYTES).splitlines():
            part = SealedPart.of(line)
            parts[part.segment].append(part)
    except (EvidenceError, ProofError) as error:
        findings.wrong(f"{path}: {error}" if path not in str(error) else str(error))
        return
    sealed, records, wrong = 0, 0, findings.count_wrong
    keys: set[bytes] = set()
    for segment in camera.segments:
        found = parts.pop(segment.number, [])
        keys.update(part.seal.key for part in found)
        try:
            header, hashes = _hashes(case, segment)
            sealed += len(_sealed(header, hashes, found))
            records += len(hashes)
        except (EvidenceError, RecordError, ProofError) as error:
            text = f"{segment.path}: {error}"
            (findings.lacks if segment.problem else findings.wrong)(text)
    for number in parts:
        findings.wrong(f"{path} has a seal over segment {number}, which is not here")
    if findings.count_wrong == wrong:
        named = ", ".join(sorted(key.hex() for key in keys))
        findings.ok(
            f"seals of camera {camera.name}: {sealed} of {records} records are sealed by the edge with key {named},"
            " whose owner you must know"
        )


def _hashes(case: CaseFile, segment: SegmentEntry) -> tuple[StreamHeader, dict[int, bytes]]:
    """A segment's header, and ``record_hash`` of each of its records by sequence.

    Raises:
        EvidenceError: it cannot be read.
        RecordError: it is damaged.
    """
    data = case.read(segment.path, MOST_RECORD_BYTES)
    header, offset = StreamHeader.parse(data)
    view, packed_header, found = memoryview(data), data[:offset], dict[int, bytes]()
    while offset < len(data):
        record, length = Record.parse(view[offset:], header)
        found[record.sequence] = record_hash(packed_header, bytes(view[offset : offset + length]))
        offset += length
    return header, found


def _sealed(header: StreamHeader, hashes: dict[int, bytes], parts: list[SealedPart]) -> set[int]:
    """Sequences of the records that are sealed.

    Raises:
        ProofError: a seal is not over what is here.
    """
    sealed: set[int] = set()
    for part in parts:
        if (part.seal.camera, part.seal.epoch) != (header.camera, header.epoch):
            raise ProofError(f"a seal of camera {part.seal.camera}, epoch {part.seal.epoch}, is not about it")
        part.check(hashes)
        sealed.update(part.sequences)
    return sealed
