"""Keyframes: what makes a segment readable by itself.

A camera sends an I record at its stream's start and P records from then on, so most segments begin with a P record. A
keyframe is that first frame as an I record: the same sequence, capture time and latents. It lies beside the segment,
which stays what the camera sent, as ``<segment>.keyframe``, a stream of one record. Keyframes are made from records, so
one that is lost or damaged costs reading from an earlier segment on, and is made again by whoever does so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from cloud_service.database.usage import Amount
from cloud_service.store import reading
from cloud_service.store.segment import BLOCK_BYTES, Segment
from icm.atomic_file import write_atomically
from icm.codec.bitstream.record import Kind, Record, StreamHeader, parse_stream
from icm.errors import NotFoundError, RecordError, StorageError, storage_error

log = logging.getLogger(__name__)
KEYFRAME_SUFFIX = ".keyframe"


class SegmentKeyframes:
    """The keyframes of all segments below a store's folder. Thread-safe: a keyframe is written whole or not at all."""

    def __init__(self, root: Path, check_owned: Callable[[], None] = lambda: None) -> None:
        """Opens the keyframes of the segments in a folder.

        Args:
            check_owned: as in ``RecordStore``.
        """
        self._root, self._check_owned = root, check_owned
        self._lock = threading.Lock()
        self._usage: dict[str, Amount] = {}

    def usage(self) -> dict[str, Amount]:
        """What the keys of each camera take."""
        with self._lock:
            return dict(self._usage)

    def count(self, camera: str, change: Amount) -> None:
        """There are so many more of a camera, or fewer."""
        with self._lock:
            self._usage[camera] = self._usage.get(camera, Amount()) + change

    def read(self, segment: Segment, first: Record) -> Record | None:
        """The keyframe of a segment that begins with the record ``first``; None if there is none that can be used."""
        path = self._path(segment)
        try:
            _, records = parse_stream(path.read_bytes())
            (keyframe,) = records
        except FileNotFoundError:
            return None
        except (OSError, RecordError, ValueError) as error:
            log.warning("the keyframe %s cannot be used: %s", path, error)
            return None
        same = (keyframe.sequence, keyframe.capture_us, keyframe.digest) == (
            first.sequence,
            first.capture_us,
            first.digest,
        )
        if not same or keyframe.kind is not Kind.I:
            log.warning("the keyframe %s is another frame's than the segment's first", path)
            return None
        return keyframe

    def write(self, segment: Segment, header: StreamHeader, keyframe: Record) -> None:
        """Puts a keyframe beside its segment, on the disk when this returns.

        Args:
            header: the segment's.

        Raises:
            StorageError: the disk refused, or the store is this process's no more.
        """
        self._check_owned()
        path = self._path(segment)
        try:
            before = amount_of(path)
            write_atomically(path, header.pack() + keyframe.pack(header))
            self.count(segment.camera, amount_of(path) + -before)
        except OSError as error:
            raise storage_error(error, path) from None

    def keep(self, segment: Segment, header: StreamHeader, keyframe: Record) -> None:
        """Puts a keyframe beside its segment as ``write`` does. Where the disk refuses, that is logged: the next reader
        that comes by from an earlier segment makes it again.
        """
        try:
            self.write(segment, header, keyframe)
        except StorageError as error:
            log.warning("segment %s gets no keyframe: %s", segment.path, error)

    def keep_intra(self, segment: Segment) -> None:
        """Puts a segment's first record beside it as its keyframe, if it has none as it needs none: what is to be left
        when the segment goes. As for ``keep``, a disk that refuses is logged.
        """
        if self._path(segment).exists():
            return
        try:
            chunk = reading.read(self._root, segment, 0, segment.size, sealed=False, limit=1)
        except (NotFoundError, RecordError, StorageError) as error:
            log.warning("nothing can be left of segment %s: %s", segment.path, error)
            return
        if chunk is not None and chunk.records[0].kind is Kind.I:
            self.keep(segment, chunk.header, chunk.records[0])

    def _path(self, segment: Segment) -> Path:
        return (self._root / segment.path).with_suffix(KEYFRAME_SUFFIX)


def amount_of(path: Path) -> Amount:
    """What a file takes; nothing if it is not there.

    Raises:
        OSError: the disk refused to say.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return Amount()
    return Amount(1, found.st_size, found.st_blocks * BLOCK_BYTES)
