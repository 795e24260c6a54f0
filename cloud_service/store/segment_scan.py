"""What a segment file holds, as far as it can be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloud_service.store.segment import Segment
from icm.codec.bitstream.record import Record, StreamHeader, too_short_for_records
from icm.errors import RecordError, RecordVersionError


@dataclass(frozen=True)
class Scan:
    """What was found in a segment's file.

    Attributes:
        segment: figures of the whole records at its start; None if not even the header is whole.
        damage: what is wrong with what follows them, if anything is.
        rest: bytes that follow them.
        more: whether whole records follow the damage: then it is none that a crash leaves at a file's end.
        torn: where there is no header, whether the file is too short to have held a record behind one.
    """

    segment: Segment | None
    damage: RecordError | None
    rest: int
    more: bool = False
    torn: bool = False


def scan(
    root: Path, path: Path, number: int, ends: Callable[[Segment, Record], bool] = lambda segment, record: False
) -> Scan:
    """Reads a whole segment file.

    Args:
        ends: called with what was read and what comes next; True ends the segment before it.

    Raises:
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    try:
        header, offset = StreamHeader.parse(data)
    except RecordError as error:
        torn = not isinstance(error, RecordVersionError) and (too_short_for_records(data) or not any(data))
        return Scan(None, error, len(data), torn=torn)
    segment = Segment(header.camera, number, header.epoch, str(path.relative_to(root)), offset, sealed=True)
    view = memoryview(data)
    damage = None
    while segment.size < len(data):
        try:
            record, length = Record.parse(view[segment.size :], header)
        except RecordError as error:
            damage = error
            break
        if ends(segment, record):
            break
        segment.grow([record], length)
    rest = view[segment.size :]
    segment.sha256 = hashlib.sha256(view[: segment.size]).digest()
    # The file's last change is when its last record arrived, but where the file was copied.
    segment.arrived(path.stat().st_mtime_ns // 1000)
    return Scan(segment, damage, len(rest), more=damage is not None and _goes_on(rest, header))


def _goes_on(damaged: memoryview, header: StreamHeader) -> bool:
    """Whether a whole record lies behind damaged ones, where their lengths say that the next begins."""
    while damaged := damaged[Record.claimed_length(damaged) :]:
        try:
            Record.parse(damaged, header)
        except RecordError:
            continue
        return True
    return False
