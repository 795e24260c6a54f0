"""One segment: a file of one stream header and records, and what is known about it without reading it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cloud_service.store.sequences import SequenceSet
from icm.codec.bitstream.record import Record, StreamHeader
from icm.folders import make_folder, sync_folder

MAX_BYTES = 64 << 20
"""A segment takes no further record once it is this large, so that one read of it is bounded."""
MAX_RECORDS = 3000
LONGEST_US = 600 * 1_000_000
"""From a segment's first capture to its last, at most, whatever the setting was."""
MAX_NUMBER = (1 << 63) - 1
"""Of a segment: no database holds a higher one."""
BLOCK_BYTES = 512
"""What the operating system counts a file's place on its disk in."""
LATEST_ARRIVAL_US = 7 * 86_400 * 1_000_000
"""How much older than its arrival a segment may be, in microseconds: as long as edges keep records unless told
otherwise. A camera whose clock says 1970 makes no segment that is due at once."""
_NAME = re.compile(r"\d{8}T\d{12}Z-(\d{6,})\.icm")


@dataclass
class Segment:
    """What the index knows of a segment.

    Attributes:
        camera: its name.
        number: position in the camera's log, from 1 on; never used again.
        epoch: of all its records.
        path: of the file, relative to the store's folder.
        size: bytes of the file that are on the disk for sure.
        records: how many there are.
        first_capture_us: earliest capture time, microseconds since 1970.
        last_capture_us: latest capture time, microseconds since 1970.
        sequences: of its records.
        sealed: whether it will never grow again.
        kept_from_us: what its age counts from, microseconds since 1970; set when it is sealed, and never again.
        disk_bytes: what the file takes on its disk, once it is sealed.
        sha256: of the file's ``size`` bytes, once it is sealed; empty if that was before segments had one.
    """

    camera: str
    number: int
    epoch: int
    path: str
    size: int
    records: int = 0
    first_capture_us: int = 0
    last_capture_us: int = 0
    sequences: SequenceSet = field(default_factory=SequenceSet)
    sealed: bool = False
    kept_from_us: int = 0
    disk_bytes: int = 0
    sha256: bytes = b""

    def arrived(self, at_us: int) -> None:
        """Sets what its age counts from: its last capture, but not after it arrived, nor long before that.

        Args:
            at_us: when its last record arrived, microseconds since 1970.
        """
        self.kept_from_us = min(max(self.last_capture_us, at_us - LATEST_ARRIVAL_US), at_us)

    def count(self, record: Record) -> None:
        """Takes a record into the figures."""
        capture = record.capture_us
        self.first_capture_us = min(self.first_capture_us, capture) if self.records else capture
        self.last_capture_us = max(self.last_capture_us, capture) if self.records else capture
        self.records += 1
        self.sequences.add(record.sequence)

    def now(self) -> Segment:
        """A copy that stays as it is."""
        return replace(self, sequences=SequenceSet(self.sequences))

    def grow(self, records: Sequence[Record], size: int) -> None:
        """Takes records into the figures that lie on the disk now, in so many bytes."""
        for record in records:
            self.count(record)
        self.size += size


class OpenSegment:
    """The segment that a camera's records are appended to. Not thread-safe."""

    def __init__(self, root: Path, header: StreamHeader, number: int, first_capture_us: int) -> None:
        """Creates the file and writes its header.

        Raises:
            OSError: the disk refused; no file is left behind.
        """
        self.header = header
        self.path = root / segment_path(header.camera, number, first_capture_us)
        make_folder(self.path.parent)
        packed = header.pack()
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.info = Segment(header.camera, number, header.epoch, str(self.path.relative_to(root)), len(packed))
        self.start_us = first_capture_us
        self._digest = hashlib.sha256(packed)
        try:
            self._write(packed)
            sync_folder(self.path.parent)
        except OSError:
            self.abandon(first_capture_us)
            raise

    def fits(self, header: StreamHeader, capture_us: int, seconds: float) -> bool:
        """Whether a record belongs into this segment still."""
        return (
            header == self.header
            and 0 <= capture_us - self.start_us < seconds * 1e6
            and self.info.size < MAX_BYTES
            and self.info.records < MAX_RECORDS
        )

    def append(self, data: bytes) -> None:
        """Writes packed records and waits until they are on the disk; ``info`` does not know of them yet.

        Raises:
            OSError: the disk refused. What the file now holds past ``info.size`` is unknown: abandon it.
        """
        self._write(data)
        # The kernel may drop pages that it failed to write, so a second fdatasync that succeeds would prove nothing.
        os.fdatasync(self._descriptor)
        self._digest.update(data)

    def seal(self, now_us: int) -> None:
        """Closes the file; it never grows again.

        Args:
            now_us: the time, microseconds since 1970.
        """
        self.info.disk_bytes = os.fstat(self._descriptor).st_blocks * BLOCK_BYTES
        os.close(self._descriptor)
        self.info.sha256 = self._digest.digest()
        self.info.arrived(now_us)
        self.info.sealed = True

    def abandon(self, now_us: int) -> bool:
        """Cuts off what may not be on the disk and closes the file. Returns whether any record is left in it.

        Args:
            now_us: the time, microseconds since 1970.
        """
        if self.info.records:
            # Readers stop at info.size anyway, and the next start looks at what follows.
            with suppress(OSError):
                os.truncate(self._descriptor, self.info.size)
            self.seal(now_us)
            return True
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)
        return False

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


def segment_path(camera: str, number: int, start_us: int) -> str:
    """Where a segment lies, relative to the store: ``<camera>/<YYYY-MM-DD>/<HH>/<start>-<number>.icm``, in UTC."""
    return f"{segment_stem(camera, number, start_us)}.icm"


def segment_stem(camera: str, number: int, start_us: int) -> str:
    """The same without the ending; everything derived from a segment has it in its name."""
    start = datetime.fromtimestamp(start_us // 1_000_000, UTC)
    return f"{camera}/{start:%Y-%m-%d}/{start:%H}/{start:%Y%m%dT%H%M%S}{start_us % 1_000_000:06d}Z-{number:06d}"


def number_of(name: str) -> int | None:
    """The number in a segment file's name, or None for a file of another kind."""
    match = _NAME.fullmatch(name)
    return int(match.group(1)) if match else None


def cut(path: Path, size: int) -> None:
    """Cuts a file to its first ``size`` bytes, for good.

    Raises:
        OSError: the disk refused.
    """
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Waits until the file's bytes are on the disk.

    Raises:
        OSError: the disk refused.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_again(path: Path, start: int, end: int) -> None:
    """Writes a file's bytes ``start`` to ``end`` once more in their place, and waits until they are on the disk.

    Raises:
        OSError: the disk refused.
    """
    with path.open("r+b") as file:
        file.seek(start)
        data = file.read(end - start)
        file.seek(start)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
