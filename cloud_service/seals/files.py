"""Where seals lie: a file a camera and day of its segments, of lines that ``icm.proof.seals`` describes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from icm.codec.bitstream.record import Record, StreamHeader
from icm.errors import ProofError, RecordError
from icm.folders import delete_files, make_folder, sync_folder
from icm.proof.seals import SealedPart, record_hash

FOLDER = "seals"
"""Of all seals, beside the chains."""


def seal_file(folder: Path, segment: str) -> Path:
    """The file of the seals over a segment.

    Args:
        folder: of all seals.
        segment: the segment's path, relative to the folder of records.
    """
    camera, day, *_ = Path(segment).parts
    return folder / camera / f"{day}.seals"


def append_parts(path: Path, parts: Sequence[SealedPart]) -> None:
    """Appends lines, which are on the disk when this returns.

    Raises:
        OSError: the disk refused.
    """
    make_folder(path.parent)
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        # A line that a crash tore is ended, and so is no part of the next.
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        view = memoryview(b"\n" * torn + b"".join(part.line() + b"\n" for part in parts))
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        sync_folder(path.parent)


def parts_in(path: Path) -> dict[int, list[SealedPart]]:
    """The parts in a file, by segment; lines that are none are left out, as those that a crash tore.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[int, list[SealedPart]] = defaultdict(list)
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                try:
                    part = SealedPart.of(line.removesuffix(b"\n"))
                except ProofError:
                    continue
                found[part.segment].append(part)
    return found


def prune(folder: Path, records: Path, is_deleted: Callable[[str, int], bool]) -> int:
    """Deletes the seals of days of which no segment is left: they show nothing any more. Those of a day stay as long as
    one of its segments does, or one is gone without having been deleted.

    Args:
        folder: of all seals.
        records: the folder of segments.
        is_deleted: whether the chain of a camera says that a segment was deleted.

    Returns:
        How many files were deleted.

    Raises:
        OSError: the disk refused.
    """
    gone = []
    for path in sorted(folder.glob("*/*.seals")):
        camera = path.parent.name
        if any((records / camera / path.stem).rglob("*.icm")):
            continue
        if all(is_deleted(camera, number) for number in parts_in(path)):
            gone.append(str(path.relative_to(folder)))
    delete_files(folder, gone)
    return len(gone)


def record_hashes(path: Path) -> tuple[StreamHeader, dict[int, bytes]]:
    """What a segment holds, as seals have it: its header, and ``record_hash`` of its whole records by sequence.

    Raises:
        OSError: the file cannot be read.
        RecordError: its header is damaged.
    """
    data = path.read_bytes()
    header, offset = StreamHeader.parse(data)
    view, packed_header, found = memoryview(data), data[:offset], dict[int, bytes]()
    while offset < len(data):
        try:
            record, length = Record.parse(view[offset:], header)
        except RecordError:
            break
        found[record.sequence] = record_hash(packed_header, bytes(view[offset : offset + length]))
        offset += length
    return header, found
