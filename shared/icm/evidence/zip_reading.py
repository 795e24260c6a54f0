"""Reads evidence files: zips in the one form in which they are written, whose every byte is accounted for.

Nothing is unpacked onto a disk, and nothing is taken larger than it lies there: files are stored, not deflated.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from icm.errors import EvidenceError
from icm.evidence.layout import MOST_FILES, MOST_NAME_BYTES

DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file, as zip's own earliest."""
UNIX = 3
PERMISSIONS = 0o100644 << 16
"""Of every file."""
VERSION, _LARGE_VERSION = 20, 45
_PACKED_DATE = 0x21
_STORED, _SIZES_FOLLOW = 0, 0x08
_ALL = 0xFFFF_FFFF

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_ENTRY = struct.Struct("<4sBBHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_LARGE_END = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR = struct.Struct("<4sLQL")
_EXTRA = struct.Struct("<HHQQ")
_READ_BYTES = 1 << 20
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class ZipEntry:
    """A file of a zip.

    Attributes:
        path: its name.
        size: in bytes.
        crc: CRC-32 of them.
        offset: where its local header stands.
        data: where its bytes begin.
    """

    path: str
    size: int
    crc: int
    offset: int
    data: int


class CaseFile:
    """An evidence file that is open, as a context manager. Not thread-safe.

    Attributes:
        path: of the file.
        size: in bytes.
        entries: its files, by name.
        problem: what of its structure is not as it was written, the first thing; empty for nothing.
    """

    def __init__(self, path: Path) -> None:
        """Opens an evidence file and reads its directory.

        Raises:
            EvidenceError: it cannot be read, or is no zip of evidence.
        """
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise EvidenceError(f"cannot read {path}: {error.strerror}") from None
        try:
            self.size = self._file.seek(0, 2)
            listed, start, count = self._directory()
            self.entries, self.problem = self._checked(listed, start, count)
        except BaseException as error:
            self._file.close()
            if isinstance(error, OSError):
                raise EvidenceError(f"cannot read {path}: {error.strerror or error}") from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file's bytes, some at a time.

        Raises:
            EvidenceError: there is no such file, it cannot be read, or its checksum does not fit.
        """
        entry = self.entries.get(path)
        if entry is None:
            raise EvidenceError(f"{path} is not there")
        position, crc = entry.data, 0
        while position < entry.data + entry.size:
            chunk = self.read_at(position, min(_READ_BYTES, entry.data + entry.size - position))
            crc = zlib.crc32(chunk, crc)
            position += len(chunk)
            yield chunk
        if crc != entry.crc:
            raise EvidenceError(f"{path} was changed: its checksum in the zip does not fit")

    def read(self, path: str, most: int) -> bytes:
        """A whole file.

        Raises:
            EvidenceError: as of ``chunks``, or it has more than ``most`` bytes.
        """
        if path in self.entries and self.entries[path].size > most:
            raise EvidenceError(f"{path} has {self.entries[path].size} bytes; there should be {most} at most")
        return b"".join(self.chunks(path))

    def read_at(self, position: int, count: int) -> bytes:
        """Bytes of the zip itself.

        Raises:
            EvidenceError: they cannot be read.
        """
        try:
            self._file.seek(position)
            data = self._file.read(count)
        except OSError as error:
            raise EvidenceError(f"cannot read {self.path}: {error.strerror}") from None
        if len(data) != count:
            raise EvidenceError(f"{self.path} ends too early: it was cut off")
        return data

    def _directory(self) -> tuple[bytes, int, int]:
        """The central directory, where it begins, and how many files it says that there are."""
        if self.size < _END.size:
            raise EvidenceError(f"{self.path} is no zip: it has {self.size} bytes")
        end = self.read_at(self.size - _END.size, _END.size)
        magic, disk, start_disk, here, count, size, start, comment = _END.unpack(end)
        if magic != b"PK\5\6" or comment or disk or start_disk or here != count:
            raise EvidenceError(f"{self.path} is no zip as `icm-cloud export` writes it, or was cut off or added to")
        directory_end = self.size - _END.size
        if count == 0xFFFF or size == _ALL or start == _ALL:
            directory_end -= _LARGE_END.size + _LOCATOR.size
            if directory_end < 0:
                raise EvidenceError(f"the end of {self.path} is damaged")
            tail = self.read_at(directory_end, _LARGE_END.size + _LOCATOR.size)
            _, _, _, _, _, _, _, count, size, start = _LARGE_END.unpack_from(tail)
            record = _LARGE_END.pack(b"PK\6\6", 44, _LARGE_VERSION, _LARGE_VERSION, 0, 0, count, count, size, start)
            short = _END.pack(b"PK\5\6", 0, 0, *(2 * [min(count, 0xFFFF)]), min(size, _ALL), min(start, _ALL), 0)
            if (tail, end) != (record + _LOCATOR.pack(b"PK\6\7", 0, directory_end, 1), short):
                raise EvidenceError(f"the end of {self.path} is damaged")
        if start + size != directory_end or count > MOST_FILES or size > count * (_ENTRY.size + 2 * MOST_NAME_BYTES):
            raise EvidenceError(f"the directory of {self.path} is damaged, or bytes were added or cut off")
        return self.read_at(start, size), start, count

    def _checked(self, listed: bytes, start: int, count: int) -> tuple[dict[str, ZipEntry], str]:
        """The files of the directory, and what is wrong with how they lie in the zip."""
        entries: dict[str, ZipEntry] = {}
        position, at = 0, 0
        problem = ""
        for _ in range(count):
            path, size, crc, offset, length = self._entry(listed, position)
            position += length
            if path in entries:
                raise EvidenceError(f"{self.path} holds two files {path}")
            header_bytes, large = self._local_header(path, offset)
            entries[path] = ZipEntry(path, size, crc, offset, offset + header_bytes)
            if offset + header_bytes + size > start:
                raise EvidenceError(f"{path} does not end within {self.path}")
            form = "<4sLQQ" if large else "<4sLLL"
            follows = struct.pack(form, b"PK\7\10", crc, size, size) if large or size <= _ALL else b""
            found = self.read_at(offset + header_bytes + size, min(len(follows), start - offset - header_bytes - size))
            if offset != at or found != follows:
                problem = problem or f"bytes beside {path} in the zip were added, cut out or changed"
            at = offset + header_bytes + size + len(follows)
        if position != len(listed) or at != start:
            problem = problem or "bytes were added to the zip, or cut out of it, at its end"
        return entries, problem

    def _entry(self, listed: bytes, position: int) -> tuple[str, int, int, int, int]:
        """A file of the directory: its name, size, checksum, where it stands, and how long the entry is."""
        if len(listed) < position + _ENTRY.size:
            raise EvidenceError(f"the directory of {self.path} is cut off")
        fields = _ENTRY.unpack_from(listed, position)
        crc, stored, size, name_bytes, extra_bytes, comment_bytes = fields[8:14]
        offset = fields[17]
        begin = position + _ENTRY.size
        name, extra = listed[begin : begin + name_bytes], listed[begin + name_bytes : begin + name_bytes + extra_bytes]
        if len(extra) != extra_bytes:
            raise EvidenceError(f"the directory of {self.path} is cut off")
        path = _path(name)
        if stored != size:
            raise EvidenceError(f"{path} is compressed; an evidence file has its files as they are")
        numbers = list(struct.unpack(f"<{extra_bytes // 8}Q", extra[4:])) if extra_bytes % 8 == 4 else []
        large = [value for value in (size, stored, offset) if value == _ALL]
        if extra != (struct.pack("<HH", 1, 8 * len(large)) + extra[4:] if large else b"") or len(numbers) != len(large):
            raise EvidenceError(f"the directory of {self.path} is damaged at {path}")
        if size == _ALL:
            size, again = numbers[:2]
            if size != again or size < _ALL:
                raise EvidenceError(f"the directory of {self.path} is damaged at {path}")
        if offset == _ALL:
            offset = numbers[-1]
        version = fields[3]
        exact = _ENTRY.pack(
            b"PK\1\2", fields[1], UNIX, version, _SIZES_FOLLOW, _STORED, 0, _PACKED_DATE, crc, *(2 * [fields[10]]),
            len(name), len(extra), 0, 0, 0, PERMISSIONS, fields[17],
        )  # fmt: skip
        sound = {version, fields[1]} <= {VERSION, _LARGE_VERSION} and not comment_bytes
        if listed[position:begin] != exact or not sound:
            raise EvidenceError(f"the directory of {self.path} is damaged at {path}")
        return path, size, crc, offset, _ENTRY.size + name_bytes + extra_bytes

    def _local_header(self, path: str, offset: int) -> tuple[int, bool]:
        """The length of a file's local header, and whether it is of the form for large files."""
        name = path.encode()
        small = _LOCAL.pack(
            b"PK\3\4", VERSION, _SIZES_FOLLOW, _STORED, 0, _PACKED_DATE, 0, 0, 0, len(name), 0
        ) + name  # fmt: skip
        extra = _EXTRA.pack(1, 16, 0, 0)
        forms = [(small, False)]
        for sizes in (0, _ALL):
            header = _LOCAL.pack(
                b"PK\3\4", _LARGE_VERSION, _SIZES_FOLLOW, _STORED, 0, _PACKED_DATE, 0, sizes, sizes, len(name), 20
            )
            forms.append((header + name + extra, True))
        found = self.read_at(offset, min(len(forms[-1][0]), self.size - offset)) if offset < self.size else b""
        for form, large in forms:
            if found.startswith(form):
                return len(form), large
        raise EvidenceError(f"{path} does not begin where the directory of {self.path} says, or its header was changed")


def is_safe_path(path: str) -> bool:
    """Whether a zip of evidence may hold a file of this name: no way out of a folder, nothing that needs quoting."""
    return len(path) <= MOST_NAME_BYTES and _SAFE.fullmatch(path) is not None


def _path(name: bytes) -> str:
    try:
        path = name.decode("ascii")
    except UnicodeDecodeError:
        path = ""
    if not is_safe_path(path):
        raise EvidenceError(f"the zip holds a file {name[:200]!r}, as no evidence file does")
    return path
